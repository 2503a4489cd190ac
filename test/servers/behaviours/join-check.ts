/** Who enters a room of a real server, who does not, and that a denial leaves nothing behind. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Asked, Responder } from '../responder.ts';
import { enterRoom, errorOf, hasBody, isFrom, isOwnPresence, joinOf, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

/** What joins are tried out with. */
export interface JoinScene {
  scene(): SceneOf<XmppServer>;
  /** Without presence; disconnected after the test. */
  connect(username: string, resource?: string): Promise<TestClient>;
  joinAndGetError(client: TestClient, join: Element): Promise<ReturnType<typeof errorOf>>;
}

/** @returns what the server's own tests go on with */
export function checkJoins(kind: ServerKind): JoinScene {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let room: string;
  const clients: TestClient[] = [];

  beforeAll(async () => {
    // A budget that no test can use up: what is held back here is let go by the test.
    scene = await startSceneOn(kind, { policy: { timeoutsMs: { 'join-check': 30_000 } } });
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

  async function connect(username: string, resource?: string): Promise<TestClient> {
    const client = await scene.server.connect(username, {
      presence: false,
      ...(resource === undefined ? {} : { resource }),
    });
    clients.push(client);
    return client;
  }

  async function joinAndGetError(client: TestClient, join: Element): Promise<ReturnType<typeof errorOf>> {
    await client.send(join);
    const reply = await client.reply(join.attrs['id'] ?? '');
    expect(reply.name).toBe('presence');
    expect(reply.attrs).toMatchObject({ type: 'error', from: join.attrs['to'], to: client.jid });
    return errorOf(reply);
  }

  /** The status codes that a room gives to who enters; 201 says that it was made by that. */
  async function codesOnEntering(client: TestClient, nick: string): Promise<(string | undefined)[]> {
    await client.send(joinOf(room, nick));
    const own = await client.take('its own presence in the room', isOwnPresence);
    expect(own.attrs['type']).toBeUndefined();
    const x = own.getChild('x', 'http://jabber.org/protocol/muc#user');
    return x?.getChildren('status').map((status) => status.attrs['code']) ?? [];
  }

  async function roomsThatExist(client: TestClient): Promise<(string | undefined)[]> {
    const items = await client.ask(
      'get',
      xml('query', { xmlns: 'http://jabber.org/protocol/disco#items' }),
      'rooms.localhost',
    );
    const query = items.getChild('query');
    return query?.getChildren('item').map((item) => item.attrs['jid']) ?? [];
  }

  /** How many occupants the room says that it has. */
  async function occupantsSeenBy(client: TestClient): Promise<number> {
    const info = await client.ask('get', xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' }), room);
    const fields = info.getChild('query')?.getChild('x')?.getChildren('field') ?? [];
    return Number(fields.find((field) => field.attrs['var'] === 'muc#roominfo_occupants')?.getChildText('value'));
  }

  /** Answers are held back until `letGo` is called; then, and from then on, they are what `answer` says. */
  function hold(answer: (asked: Asked) => Readonly<Record<string, unknown>>): () => void {
    let letGo: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    responder.on('join-check', (asked) => held.then(() => answer(asked)));
    return () => letGo?.();
  }

  const allow = { verdict: 'allow' };
  const deny = { verdict: 'deny' };
  const forbidden = { type: 'auth', condition: 'forbidden', text: 'You may not enter this room' };

  describe('a join that is allowed', () => {
    it('makes the room when there is none, and the worker is told so', async () => {
      const alice = await connect('alice');

      expect(await codesOnEntering(alice, 'Al ice')).toContain('201');
      expect(responder.of('join-check')).toHaveLength(1);
      expect(responder.of('join-check')[0]).toMatchObject({
        user: alice.jid,
        room,
        nick: 'Al ice',
        event: 'join',
        creating: true,
      });
    });

    it('enters the room that is there, with a second device of an occupant too', async () => {
      const phone = await connect('alice', 'phone');
      await enterRoom(phone, room, 'alice');
      const tablet = await connect('alice', 'tablet');
      await enterRoom(tablet, room, 'alice');

      expect(responder.of('join-check')).toHaveLength(2);
      expect(responder.of('join-check')[1]).toMatchObject({ user: tablet.jid, event: 'join', creating: false });
    });

    it('is not asked about again when the occupant changes its status, asks itself, or leaves', async () => {
      const alice = await connect('alice');
      await enterRoom(alice, room, 'alice');
      await alice.send(xml('presence', { to: `${room}/alice` }, xml('show', {}, 'away')));
      await alice.take('its own presence', isOwnPresence);
      await alice.ask('get', xml('ping', { xmlns: 'urn:xmpp:ping' }), `${room}/alice`);
      await alice.send(xml('presence', { to: `${room}/alice`, type: 'unavailable' }));
      await alice.take('that it has left', isOwnPresence);

      expect(responder.of('join-check')).toHaveLength(1);
    });

    it('is asked about anew when the occupant has left', async () => {
      const alice = await connect('alice');
      await enterRoom(alice, room, 'alice');
      await alice.send(xml('presence', { to: `${room}/alice`, type: 'unavailable' }));
      await alice.take('that it has left', isOwnPresence);
      responder.on('join-check', () => deny);

      expect(await joinAndGetError(alice, joinOf(room, 'alice'))).toEqual(forbidden);
    });

    it('is asked about anew when the occupant was thrown out', async () => {
      const [alice, bob] = [await connect('alice'), await connect('bob')];
      await enterRoom(alice, room, 'alice');
      await enterRoom(bob, room, 'bob');
      const out = xml('item', { nick: 'bob', role: 'none' });
      await alice.ask('set', xml('query', { xmlns: 'http://jabber.org/protocol/muc#admin' }, out), room);
      await bob.take('that it is out', (stanza) => stanza.attrs['type'] === 'unavailable');
      responder.on('join-check', () => deny);

      expect(await joinAndGetError(bob, joinOf(room, 'bob'))).toEqual(forbidden);
      expect(responder.of('join-check').at(-1)).toMatchObject({ user: bob.jid, event: 'join', creating: false });
    });
  });

  describe('a join that is denied', () => {
    it('is forbidden unless the verdict says otherwise, and leaves no room behind', async () => {
      const alice = await connect('alice');
      responder.on('join-check', () => deny);

      expect(await joinAndGetError(alice, joinOf(room, 'alice'))).toEqual(forbidden);
      expect(await roomsThatExist(alice)).not.toContain(room);
      responder.on('join-check', () => allow);
      const bob = await connect('bob');
      expect(await codesOnEntering(bob, 'bob')).toContain('201');
      expect(responder.of('join-check').at(-1)).toMatchObject({ creating: true });
      expect(await codesOnEntering(alice, 'alice')).not.toContain('201');
    });

    it('gets condition and text of the verdict', async () => {
      const alice = await connect('alice');
      const error = { type: 'auth', condition: 'registration-required', text: 'Members only, on <Mondays>' };
      responder.on('join-check', () => ({ verdict: 'deny', error }));

      expect(await joinAndGetError(alice, joinOf(room, 'alice'))).toEqual(error);
    });

    it('is unseen by those in the room, and whoever was denied gets nothing of it', async () => {
      const alice = await connect('alice');
      await enterRoom(alice, room, 'alice');
      await alice.settle();
      alice.inbox.length = 0;
      const bob = await connect('bob');
      responder.on('join-check', () => deny);

      await joinAndGetError(bob, joinOf(room, 'bob'));
      expect(await occupantsSeenBy(alice)).toBe(1);
      expect(alice.inbox.map(String)).toEqual([]);
      await alice.send(message(room, 'among us', { type: 'groupchat' }));
      await alice.take('its message', hasBody('among us'));
      await bob.settle();
      expect(bob.inbox.map(String)).toEqual([]);
    });

    it('is denied without the element that marks a join, too', async () => {
      const alice = await connect('alice');
      responder.on('join-check', () => deny);

      const error = await joinAndGetError(alice, xml('presence', { to: `${room}/alice`, id: 'bare' }));
      expect(error).toEqual(forbidden);
      expect(responder.of('join-check')).toHaveLength(1);
    });

    it('makes no room when it comes without a nickname', async () => {
      const alice = await connect('alice');
      const join = xml('presence', { to: room, id: 'no-nick' }, xml('x', { xmlns: 'http://jabber.org/protocol/muc' }));

      expect(await joinAndGetError(alice, join)).toMatchObject({ type: 'modify', condition: 'jid-malformed' });
      expect(await roomsThatExist(alice)).not.toContain(room);
    });
  });

  describe('a join that is dropped, put off or changed', () => {
    it('is not answered when dropped, and leaves no room behind', async () => {
      const alice = await connect('alice');
      responder.on('join-check', () => ({ verdict: 'drop' }));
      await alice.send(joinOf(room, 'alice'));

      expect(await roomsThatExist(alice)).not.toContain(room);
      expect(alice.inbox.map(String)).toEqual([]);
    });

    it('says to try again when put off', async () => {
      const alice = await connect('alice');
      responder.on('join-check', () => ({ verdict: 'defer' }));

      expect(await joinAndGetError(alice, joinOf(room, 'alice'))).toMatchObject({
        type: 'wait',
        condition: 'resource-constraint',
      });
    });

    it('takes the fallback, which denies, when the verdict is to change it', async () => {
      const alice = await connect('alice');
      responder.on('join-check', () => ({ verdict: 'modify', stanza: '<presence/>' }));

      expect(await joinAndGetError(alice, joinOf(room, 'alice'))).toEqual(forbidden);
    });
  });

  describe('a change of nickname', () => {
    it('is asked about', async () => {
      const alice = await connect('alice');
      await enterRoom(alice, room, 'alice');
      await enterRoom(alice, room, 'alicia');

      expect(responder.of('join-check')[1]).toMatchObject({
        user: alice.jid,
        room,
        nick: 'alicia',
        event: 'nick-change',
        creating: false,
      });
    });

    it('leaves the old one when it is denied', async () => {
      const alice = await connect('alice');
      const bob = await connect('bob');
      await enterRoom(alice, room, 'alice');
      await enterRoom(bob, room, 'bob');
      responder.on('join-check', () => deny);

      expect(await joinAndGetError(alice, joinOf(room, 'alicia'))).toEqual(forbidden);
      await alice.send(message(room, 'still me', { type: 'groupchat' }));
      const got = await bob.take('the message', hasBody('still me'));
      expect(got.attrs['from']).toBe(`${room}/alice`);
      expect(await occupantsSeenBy(bob)).toBe(2);
    });
  });

  describe('a room that changes while a join is being checked', () => {
    it('is asked about again when two make it at once', async () => {
      const [alice, bob] = [await connect('alice'), await connect('bob')];
      const letGo = hold(() => allow);
      await alice.send(joinOf(room, 'alice'));
      await responder.untilAsked('join-check', 1);
      await bob.send(joinOf(room, 'bob'));
      await responder.untilAsked('join-check', 2);
      letGo();

      await alice.take('its own presence', isOwnPresence);
      await bob.take('its own presence', isOwnPresence);
      const asked = responder.of('join-check').map(({ user, creating }) => ({ user, creating }));
      const third = asked.at(2)?.user;
      expect(asked).toEqual([
        { user: alice.jid, creating: true },
        { user: bob.jid, creating: true },
        { user: third, creating: false },
      ]);
      // Each waits by himself, so either may be first.
      expect([alice.jid, bob.jid]).toContain(third);
    });

    it('is not made by one who may enter it but not make it, when the last occupant left meanwhile', async () => {
      const [alice, bob] = [await connect('alice'), await connect('bob')];
      await enterRoom(alice, room, 'alice');
      const letGo = hold((asked) => (asked['creating'] === true ? deny : allow));
      const join = joinOf(room, 'bob');
      await bob.send(join);
      await responder.untilAsked('join-check', 2);
      await alice.send(xml('presence', { to: `${room}/alice`, type: 'unavailable' }));
      await alice.take('that it has left', isOwnPresence);
      await kind.untilRoomEnded(scene.server, room);
      letGo();

      expect(errorOf(await bob.reply(join.attrs['id'] ?? ''))).toEqual(forbidden);
      expect(responder.of('join-check').map(({ creating }) => creating)).toEqual([true, false, true]);
      expect(await roomsThatExist(bob)).not.toContain(room);
    });

    it('is not entered by a session that was replaced while it waited: no ghost, and nothing for its successor', async () => {
      const bob = await connect('bob');
      await enterRoom(bob, room, 'bob');
      const letGo = hold(() => allow);
      const first = await connect('alice', 'same');
      await first.send(joinOf(room, 'alice'));
      await responder.untilAsked('join-check', 2);
      const second = await connect('alice', 'same');
      letGo();
      await first.closed;

      await bob.settle();
      expect(await occupantsSeenBy(bob)).toBe(1);
      await second.settle();
      expect(second.inbox.map(String)).toEqual([]);
      expect(scene.server.output()).not.toMatch(kind.crashed);
    });
  });

  describe('while a join is being checked', () => {
    const others = kind.receivesWhileAsking ? 'and what is sent to it does not' : 'and so does what is sent to it';
    it(`what the client sends behind it waits, ${others}`, async () => {
      const [alice, bob] = [await connect('alice'), await connect('bob')];
      await alice.send(xml('presence'));
      await alice.take('its presence', isFrom(alice.jid));
      const letGo = hold(() => allow);
      await alice.write(`${String(joinOf(room, 'alice'))}${String(message(room, 'behind', { type: 'groupchat' }))}`);
      await responder.untilAsked('join-check');
      await bob.send(message(alice.bare, 'to alice'));
      if (kind.receivesWhileAsking) await alice.take('what is sent to it', hasBody('to alice'));
      await bob.settle();
      expect(alice.inbox.map(String)).toEqual([]);
      letGo();

      if (!kind.receivesWhileAsking) await alice.take('what is sent to it', hasBody('to alice'));
      await alice.take('its own presence', isOwnPresence);
      await alice.take('its message', hasBody('behind'));
    });
  });

  return { scene: () => scene, connect, joinAndGetError };
}
