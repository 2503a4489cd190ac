/** The hooks and kinds that are off unless configured: what is delivered locally, received, or goes offline; presence and iq. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Responder } from '../responder.ts';
import { connectComponent } from '../xmpp-component.ts';
import type { TestComponent } from '../xmpp-component.ts';
import { enterRoom, errorOf, hasBody, isFrom, isOwnPresence, joinOf, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { StanzaHook, StanzaKind, XmppServer } from '../xmpp-server.ts';

export function checkAtEachHook(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let alice: TestClient;
  let bob: TestClient;
  let gateway: TestComponent;

  beforeAll(async () => {
    scene = await startSceneOn(kind, {
      policy: {
        timeoutsMs: { 'stanza-check': 30_000, 'join-check': 30_000 },
        stanzaHooks: ['send', 'route', 'local', 'receive', 'offline'],
        stanzaKinds: ['message', 'presence', 'iq'],
        notify: true,
      },
      components: { 'gateway.localhost': 'secret' },
    });
    ({ responder } = scene);
    [alice, bob] = await Promise.all([scene.server.connect('alice'), scene.server.connect('bob')]);
    gateway = await connectComponent(scene.server.componentPort, 'gateway.localhost', 'secret');
  });

  afterAll(async () => {
    gateway?.stop();
    await scene?.stop();
  });

  beforeEach(() => {
    responder.reset();
    for (const one of [alice, bob, gateway]) one.inbox.length = 0;
  });

  function denyAt(hook: StanzaHook): void {
    responder.on('stanza-check', (asked) => ({ verdict: asked['hook'] === hook ? 'deny' : 'allow' }));
  }

  function hooksAsked(stanzaKind: StanzaKind = 'message'): unknown[] {
    return responder
      .of('stanza-check')
      .filter((asked) => asked['kind'] === stanzaKind)
      .map((asked) => asked['hook']);
  }

  async function sendAndGetError(stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await alice.send(stanza);
    const reply = await alice.reply(stanza.attrs['id'] ?? '');
    expect(reply.name).toBe(stanza.name);
    expect(reply.attrs).toMatchObject({ type: 'error', from: stanza.attrs['to'], to: alice.jid });
    return errorOf(reply);
  }

  const notAllowed = { type: 'cancel', condition: 'not-allowed', text: 'This is not allowed here' };

  describe('a message between local users', () => {
    it('passes every hook on its way', async () => {
      await alice.send(message(bob.bare, 'hello'));

      await bob.take('the message', hasBody('hello'));
      expect(hooksAsked()).toEqual(['send', 'local', 'receive']);
    });

    it.each<StanzaHook>(['send', 'local', 'receive'])('is denied by %s, and its sender hears of it', async (hook) => {
      denyAt(hook);

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual(notAllowed);
      await bob.settle();
      expect(bob.inbox.map(String)).toEqual([]);
      expect(hooksAsked().at(-1)).toBe(hook);
    });

    it('is denied by offline before it is stored, when its recipient is away', async () => {
      await scene.server.register('carol');
      denyAt('offline');

      expect(await sendAndGetError(message('carol@localhost', 'for later'))).toEqual(notAllowed);
      expect(hooksAsked()).toEqual(['send', 'local', 'offline']);
      responder.reset();
      await alice.send(message('carol@localhost', 'kept'));
      await responder.untilAsked('stanza-check', 3);
      await alice.settle();
      responder.reset();
      const carol = await scene.server.connect('carol', { presence: false });
      await carol.send(xml('presence'));
      await carol.take('what was kept for it', hasBody('kept'));
      expect(carol.inbox.filter((stanza) => stanza.name === 'message')).toEqual([]);
      // What was stored is delivered unasked: it was asked about when it was stored.
      expect(hooksAsked()).toEqual([]);
      await carol.stop();
    });
  });

  describe('what Warder itself sends', () => {
    it('is not asked about: the error of a denied message, and what its recipient is told', async () => {
      const notify = '<message type="headline"><body>Somebody tried</body></message>';
      responder.on('stanza-check', () => ({ verdict: 'deny', notify }));

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual(notAllowed);
      await bob.take('the notification', hasBody('Somebody tried'));
      expect(hooksAsked()).toEqual(['send']);
    });
  });

  describe('an iq', () => {
    const request = (to: string): Element =>
      xml('iq', { type: 'get', id: randomUUID(), to }, xml('query', { xmlns: 'jabber:iq:version' }));

    it('is denied with an error, and never reaches its recipient', async () => {
      denyAt('send');

      expect(await sendAndGetError(request(bob.jid))).toEqual(notAllowed);
      await bob.settle();
      expect(bob.inbox.map(String)).toEqual([]);
    });

    it('is answered as if nobody were there when it is dropped, for somebody waits for it', async () => {
      responder.on('stanza-check', () => ({ verdict: 'drop' }));

      expect(await sendAndGetError(request(bob.jid))).toEqual({ type: 'cancel', condition: 'service-unavailable' });
    });

    it('is answered unasked: results and errors pass', async () => {
      const asked = request(bob.jid);
      await alice.send(asked);
      await bob.take('the request', isFrom(alice.jid));
      responder.reset();
      responder.on('stanza-check', () => ({ verdict: 'deny' }));
      await bob.send(xml('iq', { type: 'result', id: asked.attrs['id'], to: alice.jid }));

      expect((await alice.reply(asked.attrs['id'] ?? '')).attrs['type']).toBe('result');
      expect(hooksAsked('iq')).toEqual([]);
    });
  });

  describe('presence', () => {
    it('that asks for a subscription is denied before anybody changes a roster', async () => {
      denyAt('send');
      const subscribe = xml('presence', { type: 'subscribe', to: bob.bare, id: randomUUID() });

      expect(await sendAndGetError(subscribe)).toEqual(notAllowed);
      const roster = await alice.ask('get', xml('query', { xmlns: 'jabber:iq:roster' }));
      expect(roster.getChild('query')?.getChildren('item')).toEqual([]);
      await bob.settle();
      expect(bob.inbox.map(String)).toEqual([]);
    });

    it('that takes a subscription back always passes', async () => {
      responder.on('stanza-check', () => ({ verdict: 'deny' }));
      await alice.send(xml('presence', { type: 'unsubscribe', to: bob.bare }));
      await alice.send(xml('presence', { type: 'unsubscribed', to: bob.bare }));
      await alice.send(xml('presence', { type: 'unavailable', to: bob.jid }));
      await bob.take('that alice is gone', (stanza) => stanza.attrs['type'] === 'unavailable');

      expect(hooksAsked('presence')).toEqual([]);
    });

    it('that the server sends on to all contacts is not asked about, directed presence is', async () => {
      await alice.send(xml('presence', { type: 'subscribe', to: bob.bare }));
      await bob.take('the request', (stanza) => stanza.attrs['type'] === 'subscribe');
      await bob.send(xml('presence', { type: 'subscribed', to: alice.bare }));
      await bob.send(xml('presence', { type: 'subscribe', to: alice.bare }));
      await alice.take('the request', (stanza) => stanza.attrs['type'] === 'subscribe');
      await alice.send(xml('presence', { type: 'subscribed', to: bob.bare }));
      await bob.take('alice', (stanza) => isFrom(alice.jid)(stanza) && stanza.attrs['type'] === undefined);
      await alice.settle();
      await bob.settle();
      bob.inbox.length = 0;
      responder.reset();
      responder.on('stanza-check', () => ({ verdict: 'deny' }));
      await alice.send(xml('presence', {}, xml('status', {}, 'to all')));

      await bob.take('the broadcast', (stanza) => stanza.getChildText('status') === 'to all');
      // Neither is the answer to the probe of a contact who has just come.
      const tablet = await scene.server.connect('bob', { resource: 'tablet', presence: false });
      await tablet.send(xml('presence'));
      await tablet.take('the answer to its probe', isFrom(alice.jid));
      expect(hooksAsked('presence')).toEqual([]);
      await tablet.stop();
      expect(await sendAndGetError(xml('presence', { to: bob.jid, id: randomUUID() }))).toEqual(notAllowed);
      expect(hooksAsked('presence')).toEqual(['send']);
    });
  });

  describe('a request for a subscription that is still open', () => {
    it('is not asked about again when the server repeats it at the next login', async () => {
      const first = await scene.server.connect('emil');
      await first.send(xml('presence', { type: 'subscribe', to: bob.bare }));
      await bob.take('the request', (stanza) => stanza.attrs['type'] === 'subscribe');
      await first.stop();
      responder.reset();
      responder.on('stanza-check', () => ({ verdict: 'deny' }));
      const second = await scene.server.connect('emil');
      await second.settle();

      expect(hooksAsked('presence')).toEqual([]);
      await second.stop();
    });
  });

  describe('a session that is replaced while its presence is being checked', () => {
    it('enters no room any more', async () => {
      const room = `${randomUUID()}@rooms.localhost`;
      await enterRoom(bob, room, 'bob');
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.reset();
      responder.on('stanza-check', (asked) =>
        (asked['kind'] === 'presence' ? held : Promise.resolve()).then(() => ({ verdict: 'allow' })),
      );
      const first = await scene.server.connect('dora', { resource: 'same', presence: false });
      await first.send(joinOf(room, 'dora'));
      await responder.untilAsked('stanza-check');
      const second = await scene.server.connect('dora', { resource: 'same', presence: false });
      letGo?.();
      await first.closed;

      await second.settle();
      await bob.settle();
      // A room may have a presence of its own.
      const ofOccupants = [...second.inbox, ...bob.inbox].filter(
        ({ name, attrs }) => name === 'presence' && attrs['from'] !== room,
      );
      expect(ofOccupants.map(String)).toEqual([]);
      expect(responder.of('join-check')).toEqual([]);
      await second.stop();
    });
  });

  describe('a room and its occupants', () => {
    it('are asked about once, on the way to the room, with every hook on', async () => {
      const room = `${randomUUID()}@rooms.localhost`;
      await enterRoom(alice, room, 'alice');
      await enterRoom(bob, room, 'bob');
      responder.reset();
      await alice.send(message(room, 'to all', { type: 'groupchat' }));
      await bob.take('the message', hasBody('to all'));
      expect(responder.of('stanza-check').map(({ hook, to }) => ({ hook, to }))).toEqual([
        { hook: 'send', to: room },
        { hook: 'local', to: room },
      ]);
    });
  });

  describe('a gateway, whose stanzas arrive where nothing can wait', () => {
    const user = 'zoe@gateway.localhost/1';

    function say(to: string, body: string, from = user): Element {
      return xml('message', { from, to, type: 'chat', id: randomUUID() }, xml('body', {}, body));
    }

    it('has its messages checked, and delivered in order', async () => {
      gateway.send(...['one', 'two', 'three'].map((body) => say(bob.bare, body)));

      for (const body of ['one', 'two', 'three']) {
        expect((await bob.take('a message', isFrom(user))).getChildText('body')).toBe(body);
      }
      expect(hooksAsked()).toEqual(['local', 'receive', 'local', 'receive', 'local', 'receive']);
    });

    it('may send more at once than is kept waiting for it: all arrive, in order', async () => {
      const bodies = Array.from({ length: 1_000 }, (_unused, n) => `number ${n}`);
      gateway.send(...bodies.map((body) => say(bob.bare, body)));

      const got: (string | null)[] = [];
      while (got.length < bodies.length) got.push((await bob.take('a message', isFrom(user))).getChildText('body'));
      expect(got).toEqual(bodies);
    });

    it('does not hold up one of its users for another', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('stanza-check', async (asked) => {
        if (asked['from'] === user) await held;
        return { verdict: 'allow' };
      });
      gateway.send(say(bob.bare, 'slow'), say(bob.bare, 'quick', 'yan@gateway.localhost/1'));
      await bob.take('what does not wait', hasBody('quick'));
      expect(bob.inbox.map(String)).toEqual([]);
      letGo?.();
      await bob.take('what waited', hasBody('slow'));
    });

    it('gets the error of what was denied', async () => {
      denyAt('local');
      const stanza = say(bob.bare, 'denied');
      gateway.send(stanza);

      const reply = await gateway.take('the error', (one) => one.attrs['id'] === stanza.attrs['id']);
      expect(reply.attrs).toMatchObject({ type: 'error', from: bob.bare, to: user });
      expect(errorOf(reply)).toEqual(notAllowed);
    });

    it('has its users enter rooms when they may, and what they say behind that arrives behind it', async () => {
      const room = `${randomUUID()}@rooms.localhost`;
      await enterRoom(bob, room, 'bob');
      gateway.send(
        xml('presence', { from: user, to: `${room}/zoe` }, xml('x', { xmlns: 'http://jabber.org/protocol/muc' })),
        xml('message', { from: user, to: room, type: 'groupchat' }, xml('body', {}, 'hello all')),
        xml('iq', { from: user, to: `${room}/zoe`, type: 'get', id: 'self' }, xml('ping', { xmlns: 'urn:xmpp:ping' })),
        xml('presence', { from: user, to: `${room}/zoe`, type: 'unavailable' }),
      );

      await bob.take(
        'that zoe has come',
        (stanza) => isFrom(`${room}/zoe`)(stanza) && stanza.attrs['type'] === undefined,
      );
      await bob.take('what zoe says', hasBody('hello all'));
      await bob.take(
        'that zoe has left',
        (stanza) => isFrom(`${room}/zoe`)(stanza) && stanza.attrs['type'] === 'unavailable',
      );
      await gateway.take('its own presence', isOwnPresence);
      expect(responder.of('join-check').at(-1)).toMatchObject({
        user,
        room,
        nick: 'zoe',
        event: 'join',
        creating: false,
      });
      expect(await gateway.take('the answer', (one) => one.attrs['id'] === 'self')).toMatchObject({
        attrs: { type: 'result' },
      });
    });

    it('has its users denied rooms, with the error', async () => {
      const room = `${randomUUID()}@rooms.localhost`;
      responder.on('join-check', () => ({ verdict: 'deny' }));
      gateway.send(joinOf(room, 'zoe', { from: user, id: 'join' }));

      const reply = await gateway.take('the error', (one) => one.attrs['id'] === 'join');
      expect(errorOf(reply)).toMatchObject({ type: 'auth', condition: 'forbidden' });
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
