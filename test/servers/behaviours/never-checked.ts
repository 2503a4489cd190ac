/**
 * What is never checked, with everything configured to be checked and every answer a denial: it passes, and nobody is asked.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import { named, openStream } from '../raw-xmpp.ts';
import type { Responder } from '../responder.ts';
import { enterRoom, errorOf, hasBody, isFrom, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function neverCheck(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let alice: TestClient;
  let bob: TestClient;

  beforeAll(async () => {
    scene = await startSceneOn(kind, {
      policy: {
        stanzaHooks: ['send', 'route', 'local', 'receive', 'offline'],
        stanzaKinds: ['message', 'presence', 'iq'],
        timeoutsMs: { 'stanza-check': 30_000 },
      },
      // Streams that are resumed are written by hand here: @xmpp/client 0.14 miscounts what it acknowledges.
      furtherHosts: [{ host: 'resuming.test', resumption: true }],
    });
    ({ responder } = scene);
    [alice, bob] = await Promise.all([scene.server.connect('alice'), scene.server.connect('bob')]);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => responder.reset());

  afterEach(() => {
    for (const client of [alice, bob]) client.inbox.length = 0;
  });

  /** From here on nothing passes that is asked about. */
  function denyEverything(): void {
    responder.reset();
    responder.on('stanza-check', () => ({ verdict: 'deny' }));
  }

  function expectNothingAsked(): void {
    expect(responder.of('stanza-check')).toEqual([]);
  }

  describe('an error', () => {
    it.each(['message', 'presence', 'iq'])('in a %s reaches whom it is for', async (name) => {
      denyEverything();
      const error = xml('error', { type: 'cancel' }, xml('gone', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' }));
      await alice.send(xml(name, { type: 'error', to: bob.jid, id: 'failed' }, error));

      expect(errorOf(await bob.reply('failed'))).toEqual({ type: 'cancel', condition: 'gone' });
      expectNothingAsked();
    });
  });

  describe('the answer to a request', () => {
    it.each(['result', 'error'])('reaches whom it is for: %s', async (type) => {
      const id = randomUUID();
      await alice.send(xml('iq', { type: 'get', to: bob.jid, id }, xml('query', { xmlns: 'jabber:iq:version' })));
      await bob.take('the request', (stanza) => stanza.attrs['id'] === id);
      denyEverything();
      await bob.send(xml('iq', { type, to: alice.jid, id }));

      expect((await alice.reply(id)).attrs['type']).toBe(type);
      expectNothingAsked();
    });
  });

  describe("a user's own account", () => {
    it.each<[string, () => Element]>([
      ['a message to himself', () => message(alice.bare, 'note')],
      ['a message to his other device', () => message(alice.jid, 'note')],
      ['a message without a recipient', () => xml('message', { type: 'chat' }, xml('body', {}, 'note'))],
    ])('gets %s', async (_what, stanza) => {
      denyEverything();
      await alice.send(stanza());

      await alice.take('the note', hasBody('note'));
      expectNothingAsked();
    });

    it('answers requests: roster, archive, carbons', async () => {
      denyEverything();
      for (const payload of [
        xml('query', { xmlns: 'jabber:iq:roster' }),
        xml('prefs', { xmlns: 'urn:xmpp:mam:2' }),
        xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' }),
      ]) {
        expect((await alice.ask('get', payload)).attrs['type']).toBe('result');
        expect((await alice.ask('get', payload, alice.bare)).attrs['type']).toBe('result');
      }
      expectNothingAsked();
    });

    it('gets its own presence on every device', async () => {
      const tablet = await scene.server.connect('alice', { resource: 'tablet' });
      denyEverything();
      await tablet.send(xml('presence', {}, xml('show', {}, 'away')));

      await alice.take(
        "the tablet's presence",
        (stanza) => isFrom(tablet.jid)(stanza) && stanza.getChildText('show') === 'away',
      );
      expectNothingAsked();
      await tablet.stop();
    });
  });

  describe('presence', () => {
    it.each(['unsubscribe', 'unsubscribed', 'unavailable', 'probe'])('of type %s passes', async (type) => {
      denyEverything();
      await alice.send(xml('presence', { type, to: bob.bare }));
      await alice.settle();

      expectNothingAsked();
      expect(alice.inbox.filter((stanza) => stanza.attrs['type'] === 'error')).toEqual([]);
    });

    it('that says goodbye to a room leaves it, and no ghost stays', async () => {
      const room = `${randomUUID()}@rooms.localhost`;
      await enterRoom(alice, room, 'alice');
      await enterRoom(bob, room, 'bob');
      denyEverything();
      await bob.send(xml('presence', { to: `${room}/bob`, type: 'unavailable' }));

      const left = await alice.take(
        'that bob has left',
        (stanza) => isFrom(`${room}/bob`)(stanza) && stanza.attrs['type'] === 'unavailable',
      );
      expect(left.name).toBe('presence');
      expectNothingAsked();
    });
  });

  describe('what a room sends to its occupants', () => {
    it('is not asked about: messages, presence, subject, history', async () => {
      const room = `${randomUUID()}@rooms.localhost`;
      await enterRoom(alice, room, 'alice');
      const spoken = message(room, 'said before', { type: 'groupchat' });
      await alice.send(spoken);
      await alice.take('its message', hasBody('said before'));
      responder.reset();
      // Only what is sent to the room is asked about, and passes; copies would be denied.
      responder.on('stanza-check', (asked) => ({
        verdict: asked['to'] === room || asked['to'] === `${room}/bob` ? 'allow' : 'deny',
      }));
      await enterRoom(bob, room, 'bob');
      await bob.take('the history', hasBody('said before'));
      await bob.take('the subject', (stanza) => stanza.getChild('subject') !== undefined);
      await alice.send(message(room, 'said now', { type: 'groupchat' }));
      await bob.take('the message', hasBody('said now'));
      await alice.send(message(`${room}/bob`, 'said to bob'));
      await bob.take('the private message', hasBody('said to bob'));

      const recipients = responder.of('stanza-check').map(({ to }) => to);
      expect([...new Set(recipients)].toSorted()).toEqual([room, `${room}/bob`].toSorted());
    });
  });

  describe('copies for other devices', () => {
    it('are not asked about, whoever sent the message', async () => {
      const tablet = await scene.server.connect('alice', { resource: 'tablet' });
      await tablet.ask('set', xml('enable', { xmlns: 'urn:xmpp:carbons:2' }));
      tablet.inbox.length = 0;
      responder.reset();
      await alice.send(message(bob.jid, 'out'));
      await bob.take('the message', hasBody('out'));
      await tablet.take(
        'a copy of what was sent',
        (stanza) => stanza.getChild('sent', 'urn:xmpp:carbons:2') !== undefined,
      );
      await bob.send(message(alice.jid, 'in'));
      await alice.take('the message', hasBody('in'));
      await tablet.take(
        'a copy of what was received',
        (stanza) => stanza.getChild('received', 'urn:xmpp:carbons:2') !== undefined,
      );

      expect(responder.of('stanza-check').map(({ hook, to }) => `${String(hook)} ${String(to)}`)).toEqual([
        ...['send', 'local', 'receive'].map((hook) => `${hook} ${bob.jid}`),
        ...['send', 'local', 'receive'].map((hook) => `${hook} ${alice.jid}`),
      ]);
      await tablet.stop();
    });
  });

  describe('a replay', () => {
    it('from the archive is not asked about', async () => {
      await alice.send(message(bob.bare, 'to be archived'));
      await bob.take('the message', hasBody('to be archived'));
      denyEverything();
      await bob.ask('set', xml('query', { xmlns: 'urn:xmpp:mam:2', queryid: 'q' }));

      expect(bob.inbox.map(String).filter((stanza) => stanza.includes('to be archived'))).toHaveLength(1);
      expectNothingAsked();
    });

    it('from the offline store is not asked about', async () => {
      await scene.server.register('carol');
      await alice.send(message('carol@localhost', 'stored'));
      await responder.untilAsked('stanza-check', 3);
      await alice.settle();
      denyEverything();
      const carol = await scene.server.connect('carol', { presence: false });
      await carol.send(xml('presence'));

      await carol.take('what was stored', hasBody('stored'));
      expectNothingAsked();
      await carol.stop();
    });

    it('at the resumption of a stream is not asked about', async () => {
      await scene.server.register('dora', 'resuming.test');
      const first = await openStream(scene.server.port, 'resuming.test');
      await first.authenticate('dora');
      const jid = await first.bind('phone');
      first.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/>");
      const enabled = await first.take('stream management', named('enabled'));
      await first.take('its own presence', isFrom(jid));
      await alice.send(message(jid, 'not acknowledged'));
      await first.take('the message', hasBody('not acknowledged'));
      first.vanish();
      denyEverything();
      const second = await openStream(scene.server.port, 'resuming.test');
      await second.authenticate('dora');
      second.write(`<resume xmlns='urn:xmpp:sm:3' h='0' previd='${enabled.attrs['id'] ?? ''}'/>`);

      await second.take('that it is resumed', named('resumed'));
      await second.take('the message again', hasBody('not acknowledged'));
      expectNothingAsked();
      second.write('</stream:stream>');
    });

    it('of what a lost session had not acknowledged goes offline unasked', async () => {
      await scene.server.register('emil', 'resuming.test');
      const lost = await openStream(scene.server.port, 'resuming.test');
      await lost.authenticate('emil');
      const jid = await lost.bind('phone');
      lost.write("<enable xmlns='urn:xmpp:sm:3'/><presence/>");
      await lost.take('stream management', named('enabled'));
      await lost.take('its own presence', isFrom(jid));
      await alice.send(message(jid, 'lost'));
      await lost.take('the message', hasBody('lost'));
      denyEverything();
      lost.vanish();
      const next = await openStream(scene.server.port, 'resuming.test');
      await next.authenticate('emil');
      await next.bind('phone');
      next.write('<presence/>');

      await next.take('the message again', hasBody('lost'));
      expectNothingAsked();
      next.vanish();
    });
  });

  describe('before a session is established', () => {
    it('nothing is asked about, and what is sent is refused by the server itself', async () => {
      await scene.server.register('fritz');
      denyEverything();
      const stream = await openStream(scene.server.port, 'localhost');
      stream.write("<message to='bob@localhost' id='early'><body>early</body></message>");
      await stream.take('the refusal', (element) => kind.refusesEarly(element, 'early'));
      const unbound = await openStream(scene.server.port, 'localhost');
      await unbound.authenticate('fritz');
      unbound.write(
        "<message to='bob@localhost' id='unbound'><body>early</body></message><iq type='get' id='after'><x xmlns='urn:x'/></iq>",
      );
      // What is answered to this comes after what was answered to that.
      await unbound.bind('late');
      expect(unbound.inbox.some((element) => kind.refusesEarly(element, 'after'))).toBe(kind.refusesUnbound);
      await bob.settle();

      expect(bob.inbox.filter(hasBody('early'))).toEqual([]);
      expectNothingAsked();
      stream.vanish();
      unbound.vanish();
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
