/** The ways into a room that only ejabberd has; and that its rooms look again where the server's knowledge may be old. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startSceneOn } from './policy-scene.ts';
import type { SceneOf } from './policy-scene.ts';
import { named, openStream } from './raw-xmpp.ts';
import type { Responder } from './responder.ts';
import { enterRoom, errorOf, hasBody, isFrom, isOwnPresence, joinOf, message, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';
import { connectComponent } from './xmpp-component.ts';
import type { XmppServer } from './xmpp-server.ts';

let scene: SceneOf<XmppServer>;
let responder: Responder;
let room: string;
const clients: TestClient[] = [];

beforeAll(async () => {
  const mucSub = { mod_muc: { hosts: ['rooms.@HOST@'], default_room_options: { allow_subscription: true } } };
  const kind = {
    ...ejabberdKind,
    start: async (options: Parameters<typeof startEjabberd>[0]) =>
      startEjabberd({ ...options, modules: mucSub, codePaths: [await buildHook()] }),
  };
  scene = await startSceneOn(kind, {
    policy: { timeoutsMs: { 'join-check': 30_000 } },
    components: { 'gateway.localhost': 'secret' },
    furtherHosts: [{ host: 'resuming.test', resumption: true, rooms: true }],
  });
  ({ responder } = scene);
});

afterAll(() => scene?.stop());

beforeEach(() => {
  responder.reset();
  room = `${randomUUID()}@rooms.localhost`;
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.stop()));
});

async function connect(username: string): Promise<TestClient> {
  const client = await scene.server.connect(username, { presence: false });
  clients.push(client);
  return client;
}

const deny = { verdict: 'deny' };
const forbidden = { type: 'auth', condition: 'forbidden', text: 'You may not enter this room' };

/** What the server has of the room: a process, or nothing. */
async function processOf(jid: string): Promise<string> {
  const [name, domain] = jid.split('@');
  return scene.server.shell(`element(1, {mod_muc:find_online_room(<<"${name}">>, <<"${domain}">>)})`);
}

async function expectNoRoom(): Promise<void> {
  expect(await processOf(room)).toBe('error');
  expect(scene.server.output()).not.toContain(`Created MUC room ${room}`);
}

describe('presence without the element that marks a join', () => {
  it('enters, and is asked about', async () => {
    const alice = await connect('alice');
    await alice.send(xml('presence', { to: `${room}/alice` }));
    await alice.take('its own presence', isOwnPresence);

    expect(responder.of('join-check')).toHaveLength(1);
    expect(responder.of('join-check')[0]).toMatchObject({ user: alice.jid, room, event: 'join', creating: true });
  });
});

describe('a join that is denied', () => {
  it('makes no process of a room, not even for a moment', async () => {
    const alice = await connect('alice');
    responder.on('join-check', () => deny);
    const join = joinOf(room, 'alice');
    await alice.send(join);
    await alice.reply(join.attrs['id'] ?? '');

    await expectNoRoom();
  });
});

describe('a question for the configuration of a room that is not there, which would make it', () => {
  const query = xml('query', { xmlns: 'http://jabber.org/protocol/muc#owner' });

  it('is asked about as a join that makes the room, without a nickname', async () => {
    const alice = await connect('alice');
    responder.on('join-check', () => deny);

    expect(errorOf(await alice.ask('get', query, room))).toEqual(forbidden);
    expect(responder.of('join-check')[0]).toMatchObject({ user: alice.jid, room, nick: '', creating: true });
    await expectNoRoom();
  });

  it('is none where there is a room', async () => {
    const alice = await connect('alice');
    await enterRoom(alice, room, 'alice');

    expect((await alice.ask('get', query, room)).attrs['type']).toBe('result');
    expect(responder.of('join-check')).toHaveLength(1);
  });
});

describe('MucSub', () => {
  const messages = 'urn:xmpp:mucsub:nodes:messages';
  const subscription = (attrs: Readonly<Record<string, string>> = {}): Element =>
    xml('subscribe', { xmlns: 'urn:xmpp:mucsub:0', nick: 'bob', ...attrs }, xml('event', { node: messages }));
  const cancelled = xml('unsubscribe', { xmlns: 'urn:xmpp:mucsub:0' });

  it('is asked about as a subscription, and cancelling it is not', async () => {
    const [alice, bob] = [await connect('alice'), await connect('bob')];
    await enterRoom(alice, room, 'alice');

    expect((await bob.ask('set', subscription(), room)).attrs['type']).toBe('result');
    expect(responder.of('join-check')).toHaveLength(2);
    expect(responder.of('join-check')[1]).toMatchObject({
      user: bob.jid,
      room,
      nick: 'bob',
      event: 'subscribe',
      creating: false,
    });
    responder.on('join-check', () => deny);
    expect((await bob.ask('set', cancelled, room)).attrs['type']).toBe('result');
    expect(responder.of('join-check')).toHaveLength(2);
  });

  it('gets nobody in who may not enter', async () => {
    const [alice, bob] = [await connect('alice'), await connect('bob')];
    await bob.send(xml('presence'));
    await bob.take('its presence', isFrom(bob.jid));
    await enterRoom(alice, room, 'alice');
    responder.on('join-check', () => deny);

    expect(errorOf(await bob.ask('set', subscription(), room))).toEqual(forbidden);
    await alice.send(message(room, 'among us', { type: 'groupchat' }));
    await alice.take('its message', hasBody('among us'));
    await bob.settle();
    expect(bob.inbox.map(String)).toEqual([]);
  });

  it('gets nobody in through a moderator, and the question names who would get in', async () => {
    const alice = await connect('alice');
    await enterRoom(alice, room, 'alice');
    responder.on('join-check', () => deny);

    expect(errorOf(await alice.ask('set', subscription({ jid: 'bob@localhost' }), room))).toEqual(forbidden);
    expect(responder.of('join-check').at(-1)?.['user']).toMatch(/^bob@localhost\/.+$/);
  });

  it('makes no room for who may not enter it, and none of what cannot be read', async () => {
    const bob = await connect('bob');
    responder.on('join-check', () => deny);

    expect(errorOf(await bob.ask('set', subscription(), room))).toEqual(forbidden);
    expect(responder.of('join-check')[0]).toMatchObject({ event: 'subscribe', creating: true });
    expect(errorOf(await bob.ask('set', subscription({ jid: '@@' }), room))).toMatchObject({
      condition: 'bad-request',
    });
    await expectNoRoom();
  });

  it('that is dropped is answered as if nobody were there', async () => {
    const bob = await connect('bob');
    responder.on('join-check', () => ({ verdict: 'drop' }));

    expect(errorOf(await bob.ask('set', subscription(), room))).toMatchObject({ condition: 'service-unavailable' });
  });
});

describe('what is sent in the name of a user without his session', () => {
  it('is asked about, too', async () => {
    const bob = await connect('bob');
    responder.on('join-check', () => deny);
    const presence = `<presence xmlns='jabber:client' from='${bob.jid}' to='${room}/bob' id='injected'/>`;
    await scene.server.shell(`ejabberd_router:route(xmpp:decode(fxml_stream:parse_element(<<"${presence}">>)))`);

    expect(errorOf(await bob.reply('injected'))).toEqual(forbidden);
    await expectNoRoom();
  });
});

describe('a session that does not know yet what has become of it in a room', () => {
  const sessionOf = (jid: string): string => {
    const [bare = '', resource = ''] = jid.split('/');
    return `ejabberd_sm:get_session_pid(<<"${bare.split('@')[0]}">>, <<"localhost">>, <<"${resource}">>)`;
  };

  /** Bob changes his status in the room, and before his session has dealt with that, `meanwhile` happens. */
  async function bobIsLate(bob: TestClient, meanwhile: () => Promise<void>): Promise<void> {
    const session = sessionOf(bob.jid);
    const presence = `<presence xmlns='jabber:client' to='${room}/bob' id='late'><show>away</show></presence>`;
    await scene.server.shell(`sys:suspend(${session})`);
    // As what it has read comes to it.
    const element = `{xmlstreamelement, fxml_stream:parse_element(<<"${presence}">>)}`;
    await scene.server.shell(`${session} ! {'$gen_event', ${element}}, ok`);
    await meanwhile();
    await scene.server.shell(`sys:resume(${session})`);
  }

  it('does not get back in with a change of status when it was thrown out', async () => {
    const [alice, bob] = [await connect('alice'), await connect('bob')];
    await enterRoom(alice, room, 'alice');
    await enterRoom(bob, room, 'bob');
    responder.on('join-check', () => deny);
    await bobIsLate(bob, async () => {
      const out = xml('item', { nick: 'bob', role: 'none' });
      await alice.ask('set', xml('query', { xmlns: 'http://jabber.org/protocol/muc#admin' }, out), room);
    });

    await bob.take('that it is out', (stanza) => stanza.attrs['type'] === 'unavailable');
    expect(errorOf(await bob.reply('late'))).toEqual(forbidden);
    expect(responder.of('join-check').at(-1)).toMatchObject({ user: bob.jid, event: 'join', creating: false });
  });

  it('gets back in when it may', async () => {
    const [alice, bob] = [await connect('alice'), await connect('bob')];
    await enterRoom(alice, room, 'alice');
    await enterRoom(bob, room, 'bob');
    await bobIsLate(bob, async () => {
      const out = xml('item', { nick: 'bob', role: 'none' });
      await alice.ask('set', xml('query', { xmlns: 'http://jabber.org/protocol/muc#admin' }, out), room);
    });

    await bob.take('that it is out', (stanza) => stanza.attrs['type'] === 'unavailable');
    await bob.take('its own presence', (stanza) => isOwnPresence(stanza) && stanza.getChildText('show') === 'away');
    expect(responder.of('join-check')).toHaveLength(3);
  });

  it('does not make the room anew with a change of status when that was destroyed', async () => {
    const bob = await connect('bob');
    await enterRoom(bob, room, 'bob');
    responder.on('join-check', () => deny);
    await bobIsLate(bob, async () => {
      await scene.server.shell(`mod_muc_admin:destroy_room(<<"${room.split('@')[0]}">>, <<"rooms.localhost">>)`);
      await ejabberdKind.untilRoomEnded(scene.server, room);
    });

    expect(errorOf(await bob.reply('late'))).toEqual(forbidden);
    expect(responder.of('join-check').at(-1)).toMatchObject({ user: bob.jid, event: 'join', creating: true });
    expect(await processOf(room)).toBe('error');
  });
});

describe('a session that is resumed (XEP-0198)', () => {
  it('is in the rooms that it was in', async () => {
    await scene.server.register('ida', 'resuming.test');
    room = `${randomUUID()}@rooms.resuming.test`;
    const stream = await openStream(scene.server.port, 'resuming.test');
    await stream.authenticate('ida');
    await stream.bind('phone');
    stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    const enabled = await stream.take('stream management', named('enabled'));
    stream.write(String(joinOf(room, 'ida')));
    await stream.take('its own presence', isOwnPresence);
    stream.vanish();
    responder.on('join-check', () => deny);
    const again = await openStream(scene.server.port, 'resuming.test');
    await again.authenticate('ida');
    again.write(`<resume xmlns='urn:xmpp:sm:3' h='0' previd='${enabled.attrs['id'] ?? ''}'/>`);
    await again.take('that it is resumed', named('resumed'));
    again.write(String(xml('presence', { to: `${room}/ida` }, xml('show', {}, 'away'))));

    await again.take('its presence', (stanza) => isOwnPresence(stanza) && stanza.getChildText('show') === 'away');
    expect(responder.of('join-check')).toHaveLength(1);
    again.vanish();
  });
});

describe('a room that came to be by a presence that was allowed to enter, and not to make it', () => {
  it('ends at once, and the presence is asked about as what it is', async () => {
    const bob = await connect('bob');
    responder.on('join-check', () => deny);
    const presence = `<presence xmlns='jabber:client' from='${bob.jid}' to='${room}/bob' id='overtaken'/>`;
    await scene.server.shell(
      `ejabberd_router:route(xmpp:put_meta(xmpp:decode(fxml_stream:parse_element(<<"${presence}">>)), warder_join, {join, false}))`,
    );

    expect(errorOf(await bob.reply('overtaken'))).toEqual(forbidden);
    expect(responder.of('join-check')).toHaveLength(1);
    expect(responder.of('join-check')[0]).toMatchObject({ user: bob.jid, event: 'join', creating: true });
    expect(await processOf(room)).toBe('error');
  });
});

describe('a fault of the hook itself', () => {
  const zoe = 'zoe@gateway.localhost/1';

  it('takes the fallback, which denies', async () => {
    const gateway = await connectComponent(scene.server.componentPort, 'gateway.localhost', 'secret');
    gateway.send(joinOf(room, 'zoe', { from: zoe }));
    await gateway.take('its presence', isOwnPresence);
    // Who is in which room: as though that had gone.
    await scene.server.shell('ets:rename(muc_online_users, elsewhere)');
    gateway.send(xml('presence', { from: zoe, to: `${room}/zoe`, id: 'unknown' }));

    expect(errorOf(await gateway.take('the error', ({ attrs }) => attrs['id'] === 'unknown'))).toEqual(forbidden);
    await scene.server.shell('ets:rename(elsewhere, muc_online_users)');
    expect(scene.server.output()).toContain('Could not decide join-check');
    gateway.stop();
  });
});

it('nothing in all this went wrong inside ejabberd', () => {
  expect(scene.server.output()).not.toMatch(ejabberdKind.crashed);
});
