/**
 * Who enters a room of a real server and is not of the host whose room it is: users of other hosts here, who come by
 * other settings than the room's, and users of a gateway, who come without a session.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Responder } from '../responder.ts';
import type { ServerKind } from '../server-kind.ts';
import { enterRoom, errorOf, isFrom, isOwnPresence, joinOf, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import { connectComponent } from '../xmpp-component.ts';
import type { TestComponent } from '../xmpp-component.ts';
import type { XmppServer } from '../xmpp-server.ts';

/** @returns the scene that the server's own tests go on with */
export function checkJoinsFromElsewhere(kind: ServerKind): () => SceneOf<XmppServer> {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let gateway: TestComponent;
  let room: string;
  const clients: TestClient[] = [];

  beforeAll(async () => {
    scene = await startSceneOn(kind, {
      policy: { timeoutsMs: { 'join-check': 30_000 } },
      components: { 'gateway.localhost': 'secret' },
      furtherHosts: [
        { host: 'open.test', rooms: true, policy: { fallback: { 'join-check': 'allow' } } },
        { host: 'unasked.test', rooms: true, policy: { checks: ['stanza-check'] } },
      ],
    });
    ({ responder } = scene);
    gateway = await connectComponent(scene.server.componentPort, 'gateway.localhost', 'secret');
  });

  afterAll(async () => {
    gateway?.stop();
    await scene?.stop();
  });

  beforeEach(() => {
    responder.reset();
    gateway.inbox.length = 0;
    room = `${randomUUID()}@rooms.localhost`;
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
  });

  async function connect(username: string, domain = 'localhost'): Promise<TestClient> {
    const client = await scene.server.connect(username, { presence: false, domain });
    clients.push(client);
    return client;
  }

  async function joinAndGetError(client: TestClient, join: Element): Promise<ReturnType<typeof errorOf>> {
    await client.send(join);
    return errorOf(await client.reply(join.attrs['id'] ?? ''));
  }

  const allow = { verdict: 'allow' };
  const deny = { verdict: 'deny' };
  const forbidden = { type: 'auth', condition: 'forbidden', text: 'You may not enter this room' };

  describe("a room's settings", () => {
    it('are those of its own host, whose user it may be that enters', async () => {
      const alice = await connect('alice');
      responder.on('join-check', () => ({ failure: 'source-unavailable', text: '' }));

      expect(await joinAndGetError(alice, joinOf(room, 'alice'))).toEqual(forbidden);
      await enterRoom(alice, `${randomUUID()}@rooms.open.test`, 'alice');
      expect(responder.of('join-check')).toHaveLength(2);
    });

    it('say that nobody is asked about, or that everybody is, of whatever host', async () => {
      const [alice, carol] = [await connect('alice'), await connect('carol', 'unasked.test')];
      responder.on('join-check', () => deny);
      await enterRoom(alice, `${randomUUID()}@rooms.unasked.test`, 'alice');
      expect(responder.of('join-check')).toEqual([]);

      expect(await joinAndGetError(carol, joinOf(room, 'carol'))).toEqual(forbidden);
      expect(responder.of('join-check')[0]).toMatchObject({ user: carol.jid, room, event: 'join', creating: true });
    });
  });

  describe('a user of a gateway', () => {
    const zoe = 'zoe@gateway.localhost/1';

    async function gatewayGets(what: string, matches: (stanza: Element) => boolean): Promise<Element> {
      return gateway.take(what, (stanza) => stanza.attrs['to'] === zoe && matches(stanza));
    }

    async function zoeEnters(nick: string): Promise<void> {
      await zoeIs(nick, joinOf(room, nick, { from: zoe }));
    }

    async function zoeIs(nick: string, presence: Element): Promise<void> {
      gateway.send(presence);
      await gatewayGets(
        `its presence as ${nick}`,
        (stanza) => isOwnPresence(stanza) && isFrom(`${room}/${nick}`)(stanza),
      );
    }

    async function zoeIsRefused(presence: Element): Promise<ReturnType<typeof errorOf>> {
      gateway.send(presence);
      return errorOf(await gatewayGets('the error', (stanza) => stanza.attrs['id'] === presence.attrs['id']));
    }

    it('enters when he may', async () => {
      await zoeEnters('zoe');

      expect(responder.of('join-check')).toHaveLength(1);
      expect(responder.of('join-check')[0]).toMatchObject({
        user: zoe,
        room,
        nick: 'zoe',
        event: 'join',
        creating: true,
      });
    });

    it('is told why not when he may not, and makes no room', async () => {
      const alice = await connect('alice');
      responder.on('join-check', (asked) => (asked['user'] === zoe ? deny : allow));

      expect(await zoeIsRefused(joinOf(room, 'zoe', { from: zoe }))).toEqual(forbidden);
      await enterRoom(alice, room, 'alice');
      expect(responder.of('join-check').at(-1)).toMatchObject({ user: alice.jid, creating: true });
    });

    it('is not asked about again when his status changes', async () => {
      await zoeEnters('zoe');
      responder.on('join-check', () => deny);
      gateway.send(xml('presence', { from: zoe, to: `${room}/zoe` }, xml('show', {}, 'away')));

      await gatewayGets(
        'its own presence',
        (stanza) => isOwnPresence(stanza) && stanza.getChildText('show') === 'away',
      );
      expect(responder.of('join-check')).toHaveLength(1);
    });

    it('is asked about again when he wants another nickname, and keeps his own when he may not have it', async () => {
      // Prosody ends a room whose last occupant gets another nickname.
      await enterRoom(await connect('alice'), room, 'alice');
      await zoeEnters('zoe');
      await zoeIs('zora', xml('presence', { from: zoe, to: `${room}/zora` }));
      expect(responder.of('join-check')[2]).toMatchObject({ user: zoe, nick: 'zora', event: 'nick-change' });
      responder.on('join-check', () => deny);

      expect(await zoeIsRefused(joinOf(room, 'zuleika', { from: zoe }))).toEqual(forbidden);
      gateway.send(xml('presence', { from: zoe, to: `${room}/zora` }, xml('show', {}, 'dnd')));
      await gatewayGets('its presence', (stanza) => isOwnPresence(stanza) && stanza.getChildText('show') === 'dnd');
    });

    it('is asked about again when he has left', async () => {
      // Else the room would end.
      await enterRoom(await connect('alice'), room, 'alice');
      await zoeEnters('zoe');
      gateway.send(xml('presence', { from: zoe, to: `${room}/zoe`, type: 'unavailable' }));
      await gatewayGets('that he has left', (stanza) => stanza.attrs['type'] === 'unavailable');
      responder.on('join-check', () => deny);

      expect(await zoeIsRefused(joinOf(room, 'zoe', { from: zoe }))).toEqual(forbidden);
    });
  });

  return () => scene;
}
