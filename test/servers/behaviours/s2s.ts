/** What arrives from another server: two real servers over s2s, of which only the first asks. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freePorts } from '../free-port.ts';
import { startNatsServer } from '../nats-server.ts';
import type { NatsServer } from '../nats-server.ts';
import { named, openStream } from '../raw-xmpp.ts';
import { startResponder } from '../responder.ts';
import type { Responder } from '../responder.ts';
import type { ServerKind } from '../server-kind.ts';
import { enterRoom, errorOf, hasBody, isFrom, joinOf, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function checkAcrossServers(kind: ServerKind): void {
  let broker: NatsServer;
  let responder: Responder;
  let ours: XmppServer;
  let theirs: XmppServer;
  /** At home where Warder is. */
  let alice: TestClient;
  /** At home where it is not. */
  let rita: TestClient;

  beforeAll(async () => {
    const [ourPort, theirPort] = (await freePorts(2)) as [number, number];
    broker = await startNatsServer();
    responder = await startResponder(broker.url);
    const natsUrl = broker.url;
    [ours, theirs] = await Promise.all([
      kind.start({
        natsUrl,
        host: 'ours.test',
        s2sPort: ourPort,
        peers: { 'theirs.test': theirPort, 'rooms.theirs.test': theirPort },
        furtherHosts: [{ host: 'resuming.test', resumption: true }],
        policy: {
          timeoutsMs: { 'stanza-check': 30_000, 'join-check': 30_000 },
          fallback: {
            'stanza-check': { local: 'allow', remote: 'defer' },
            'join-check': { local: 'allow', remote: 'deny' },
          },
        },
      }),
      kind.start({
        natsUrl,
        host: 'theirs.test',
        s2sPort: theirPort,
        peers: { 'ours.test': ourPort, 'rooms.ours.test': ourPort, 'resuming.test': ourPort },
        warder: false,
      }),
    ]);
    [alice, rita] = await Promise.all([ours.connect('alice'), theirs.connect('rita')]);
  });

  afterAll(async () => {
    await Promise.all([ours?.stop(), theirs?.stop()]);
    await responder?.stop();
    await broker?.stop();
  });

  beforeEach(() => {
    responder.reset();
    for (const client of [alice, rita]) client.inbox.length = 0;
  });

  const deny = { verdict: 'deny' };
  const notAllowed = { type: 'cancel', condition: 'not-allowed', text: 'This is not allowed here' };

  async function sendAndGetError(client: TestClient, stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await client.send(stanza);
    const reply = await client.reply(stanza.attrs['id'] ?? '');
    expect(reply.name).toBe(stanza.name);
    expect(reply.attrs).toMatchObject({ type: 'error', from: stanza.attrs['to'], to: client.jid });
    return errorOf(reply);
  }

  /** All that rita sent before has come to alice by now, or never will. */
  async function nothingElseReachesAlice(): Promise<void> {
    responder.on('stanza-check', () => ({ verdict: 'allow' }));
    await rita.send(message(alice.jid, 'marker'));
    await alice.take('the marker', hasBody('marker'));
    expect(alice.inbox.map(String)).toEqual([]);
  }

  describe('a message from another server', () => {
    it('is asked about as one that is routed here, and arrives when it may', async () => {
      await rita.send(message(alice.bare, 'hello'));

      await alice.take('the message', hasBody('hello'));
      expect(responder.of('stanza-check')).toHaveLength(1);
      expect(responder.of('stanza-check')[0]).toMatchObject({
        hook: 'route',
        from: rita.jid,
        to: alice.bare,
        kind: 'message',
      });
    });

    it('is denied with an error that its sender sees', async () => {
      const error = { type: 'auth', condition: 'subscription-required', text: 'Be introduced first' };
      responder.on('stanza-check', () => ({ verdict: 'deny', error }));

      expect(await sendAndGetError(rita, message(alice.bare, 'hello'))).toEqual(error);
      await nothingElseReachesAlice();
    });

    it('is dropped without a word', async () => {
      responder.on('stanza-check', () => ({ verdict: 'drop' }));
      await rita.send(message(alice.bare, 'hello'));
      await responder.untilAsked('stanza-check');

      await nothingElseReachesAlice();
      expect(rita.inbox.map(String)).toEqual([]);
    });

    it('that claims to come from a room which its recipient never entered is checked, and denied without an error', async () => {
      responder.on('stanza-check', () => deny);
      await rita.send(message(alice.jid, 'as if from a room', { type: 'groupchat' }));
      await responder.untilAsked('stanza-check');

      await nothingElseReachesAlice();
      expect(rita.inbox.map(String)).toEqual([]);
    });

    it('that looks like a private message of a room is checked all the same', async () => {
      responder.on('stanza-check', () => deny);
      const stanza = message(alice.jid, 'psst');
      const disguised = xml(
        'message',
        stanza.attrs,
        ...stanza.children,
        xml('x', { xmlns: 'http://jabber.org/protocol/muc#user' }),
      );

      expect(await sendAndGetError(rita, disguised)).toEqual(notAllowed);
      await nothingElseReachesAlice();
    });
  });

  describe('a message to another server', () => {
    it('is asked about where it is sent, once', async () => {
      await alice.send(message(rita.bare, 'hello'));

      await rita.take('the message', hasBody('hello'));
      expect(responder.of('stanza-check').map(({ hook, to }) => ({ hook, to }))).toEqual([
        { hook: 'send', to: rita.bare },
      ]);
    });

    it('does not leave when it is denied', async () => {
      responder.on('stanza-check', () => deny);

      expect(await sendAndGetError(alice, message(rita.bare, 'hello'))).toEqual(notAllowed);
      responder.reset();
      await alice.send(message(rita.bare, 'marker'));
      await rita.take('the marker', hasBody('marker'));
      expect(rita.inbox.map(String)).toEqual([]);
    });
  });

  describe('a user of another server in our rooms', () => {
    it('enters when he may', async () => {
      const room = `${randomUUID()}@rooms.ours.test`;
      await enterRoom(rita, room, 'rita');

      expect(responder.of('join-check')).toHaveLength(1);
      expect(responder.of('join-check')[0]).toMatchObject({
        user: rita.jid,
        room,
        nick: 'rita',
        event: 'join',
        creating: true,
      });
    });

    it('is told why not when he may not', async () => {
      responder.on('join-check', () => deny);
      const join = joinOf(`${randomUUID()}@rooms.ours.test`, 'rita');

      expect(await sendAndGetError(rita, join)).toEqual({
        type: 'auth',
        condition: 'forbidden',
        text: 'You may not enter this room',
      });
    });

    it('speaks to all, is asked about once, and stays when he may not speak', async () => {
      const room = `${randomUUID()}@rooms.ours.test`;
      await enterRoom(alice, room, 'alice');
      await enterRoom(rita, room, 'rita');
      responder.reset();
      await rita.send(message(room, 'to all', { type: 'groupchat' }));
      await alice.take('the message', hasBody('to all'));
      expect(responder.of('stanza-check').map(({ hook, from, to }) => ({ hook, from, to }))).toEqual([
        { hook: 'route', from: rita.jid, to: room },
      ]);

      responder.on('stanza-check', () => deny);
      expect(await sendAndGetError(rita, message(room, 'too much', { type: 'groupchat' }))).toEqual(notAllowed);
      responder.reset();
      await rita.send(message(room, 'still here', { type: 'groupchat' }));
      await alice.take('the next message', hasBody('still here'));
      expect(alice.inbox.filter(hasBody('too much'))).toEqual([]);
    });
  });

  describe("our user in another server's room", () => {
    it('gets what is said there unasked, and stays when a private message to him is denied, which nobody is told', async () => {
      const room = `${randomUUID()}@rooms.theirs.test`;
      await enterRoom(rita, room, 'rita');
      await enterRoom(alice, room, 'alice');
      await rita.take('that alice has come', isFrom(`${room}/alice`));
      await alice.settle();
      rita.inbox.length = 0;
      responder.reset();
      responder.on('stanza-check', () => deny);
      await rita.send(message(room, 'to all', { type: 'groupchat' }));
      await alice.take('the message', hasBody('to all'));
      expect(responder.of('stanza-check')).toEqual([]);

      await rita.send(message(`${room}/alice`, 'psst'));
      await responder.untilAsked('stanza-check');
      expect(responder.of('stanza-check')[0]).toMatchObject({ hook: 'route', from: `${room}/rita`, to: alice.jid });
      await rita.send(message(room, 'again to all', { type: 'groupchat' }));
      await alice.take('the next message', hasBody('again to all'));
      await rita.take('its own message', hasBody('again to all'));
      expect(alice.inbox.filter(hasBody('psst'))).toEqual([]);
      expect(
        rita.inbox.filter((stanza) => stanza.attrs['type'] === 'error' || stanza.attrs['type'] === 'unavailable'),
      ).toEqual([]);
    });
  });

  describe("our user in another server's room, whose stream is resumed", () => {
    it('is still in it: what is said there comes unasked', async () => {
      const room = `${randomUUID()}@rooms.theirs.test`;
      await enterRoom(rita, room, 'rita');
      await ours.register('dora', 'resuming.test');
      const first = await openStream(ours.port, 'resuming.test');
      await first.authenticate('dora');
      await first.bind('phone');
      first.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
      const enabled = await first.take('stream management', named('enabled'));
      first.write(String(joinOf(room, 'dora')));
      await first.take('its presence in the room', isFrom(`${room}/dora`));
      await rita.take('that dora has come', isFrom(`${room}/dora`));
      first.vanish();
      const second = await openStream(ours.port, 'resuming.test');
      await second.authenticate('dora');
      second.write(`<resume xmlns='urn:xmpp:sm:3' h='0' previd='${enabled.attrs['id'] ?? ''}'/>`);
      await second.take('that it is resumed', named('resumed'));
      responder.reset();
      responder.on('stanza-check', () => deny);
      await rita.send(message(room, 'to all', { type: 'groupchat' }));

      await second.take('the message', hasBody('to all'));
      expect(responder.of('stanza-check')).toEqual([]);
      second.write(String(xml('presence', { to: `${room}/dora`, type: 'unavailable' })));
      await rita.take('that dora has left', (stanza) => stanza.attrs['type'] === 'unavailable');
      await rita.send(message('dora@resuming.test/phone', 'after it', { type: 'groupchat' }));
      await responder.untilAsked('stanza-check');
      second.write('</stream:stream>');
    });
  });

  describe('without a worker', () => {
    beforeEach(() => {
      responder.on('stanza-check', () => ({ failure: 'source-unavailable', text: '' }));
      responder.on('join-check', () => ({ failure: 'source-unavailable', text: '' }));
    });

    it('each side has its own fallback for messages', async () => {
      await alice.send(message(rita.bare, 'from here'));
      await rita.take('what a local user sends', hasBody('from here'));
      expect(await sendAndGetError(rita, message(alice.bare, 'from there'))).toMatchObject({ type: 'wait' });
      await nothingElseReachesAlice();
    });

    it('each side has its own fallback for joins', async () => {
      const room = `${randomUUID()}@rooms.ours.test`;
      await enterRoom(alice, room, 'alice');
      expect(await sendAndGetError(rita, joinOf(room, 'rita'))).toMatchObject({ condition: 'forbidden' });
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(ours.output()).not.toMatch(kind.crashed);
  });
}
