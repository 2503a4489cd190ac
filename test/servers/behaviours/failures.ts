/** What a real server does when there is no answer, or none that is one: each fallback, each kind of failure. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Operation } from '../../../src/wire/operation.ts';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import { startResponder } from '../responder.ts';
import type { Answer, Asked, Responder } from '../responder.ts';
import { enterRoom, errorOf, hasBody, joinOf, message } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

/** @returns the scene in which all this has happened, for what is left to be seen in it */
export function failSafely(kind: ServerKind): () => SceneOf<XmppServer> {
  const words = ['allow', 'deny', 'defer', 'drop'] as const;
  type Word = (typeof words)[number];

  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  /** On the host with the defaults. */
  let alice: TestClient;
  let bob: TestClient;
  /** One on each host whose fallbacks are all one word. */
  const on = {} as Record<Word, TestClient>;

  beforeAll(async () => {
    const furtherHosts = words.map((word) => {
      const fallback = { local: word, remote: 'allow' };
      return {
        host: `${word}.test`,
        rooms: true,
        policy: { fallback: { 'stanza-check': fallback, 'join-check': fallback, 'session-check': word } },
      };
    });
    scene = await startSceneOn(kind, { furtherHosts });
    ({ responder } = scene);
    [alice, bob] = await Promise.all([scene.server.connect('alice'), scene.server.connect('bob')]);
    for (const word of words) on[word] = await scene.server.connect('alice', { domain: `${word}.test` });
  });

  afterAll(() => scene?.stop());

  beforeEach(() => responder.reset());

  afterEach(() => {
    for (const client of [alice, bob, ...Object.values(on)]) client.inbox.length = 0;
  });

  async function sendAndGetError(client: TestClient, stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await client.send(stanza);
    const reply = await client.reply(stanza.attrs['id'] ?? '');
    expect(reply.attrs).toMatchObject({ type: 'error', from: stanza.attrs['to'], to: client.jid });
    return errorOf(reply);
  }

  const newRoom = (domain = 'localhost'): string => `${randomUUID()}@rooms.${domain}`;
  const notAllowed = { type: 'cancel', condition: 'not-allowed' };
  const forbidden = { type: 'auth', condition: 'forbidden' };

  /** What is no answer to a check, though it came in time. */
  const noAnswers: [string, (asked: Asked) => Answer][] = [
    ['a source that is gone', () => ({ failure: 'source-unavailable', text: '' })],
    ['a worker that failed', () => ({ failure: 'internal', text: '' })],
    ['a worker at its limit', () => ({ failure: 'overloaded', text: '' })],
    ['a request that is said to be late', () => ({ failure: 'expired', text: '' })],
    ['a failure of an unknown kind', () => ({ failure: 'sulking', text: '' })],
    ['an empty payload', () => new Uint8Array()],
    ['bytes that are no MessagePack', () => new Uint8Array([0xc1, 0xff, 0x00])],
    ['a map of 2^32 - 1 pairs', () => new Uint8Array([0xdf, 0xff, 0xff, 0xff, 0xff])],
    ['JSON that is none', () => new TextEncoder().encode('{"v":1,')],
    ['a list', () => new Uint8Array([0x91, 0x01])],
    ['a reply to another question', () => ({ id: 'another', verdict: 'allow' })],
    ['a reply of another version', () => ({ v: 2, verdict: 'allow' })],
    ['no verdict', () => ({})],
    ['an unknown verdict', () => ({ verdict: 'shrug' })],
    ['a verdict that is no text', () => ({ verdict: true })],
    ['an error that is no map', () => ({ verdict: 'allow', error: 'no' })],
    ['control characters in the text of an error', () => ({ verdict: 'allow', error: { text: '\u0001' } })],
    ['a notification that is no text', () => ({ verdict: 'allow', notify: 7 })],
  ];

  describe.each(noAnswers)('%s', (_what, answer) => {
    beforeEach(() => {
      for (const operation of ['stanza-check', 'join-check', 'session-check'] as const) responder.on(operation, answer);
    });

    it('lets messages and sessions pass and nobody enter a room, by default', async () => {
      await alice.send(message(bob.bare, 'hello'));
      await bob.take('the message', hasBody('hello'));
      await (await scene.server.connect('carol')).stop();
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toMatchObject(forbidden);
    });

    it('does the opposite where that is configured', async () => {
      expect(await sendAndGetError(on.deny, message(on.allow.bare, 'hello'))).toMatchObject(notAllowed);
      await expect(scene.server.connect('carol', { domain: 'deny.test' })).rejects.toMatchObject(
        kind.refusal(notAllowed),
      );
      await enterRoom(on.allow, newRoom('allow.test'), 'alice');
    });
  });

  describe.each(['bad-request', 'too-large'])('a request that is refused as %s', (failure) => {
    it('is denied whatever the fallback, for whoever sends can bring it about', async () => {
      for (const operation of ['stanza-check', 'join-check', 'session-check'] as const) {
        responder.on(operation, () => ({ failure, text: '' }));
      }

      expect(await sendAndGetError(on.allow, message(on.deny.bare, 'hello'))).toMatchObject(notAllowed);
      expect(await sendAndGetError(on.allow, joinOf(newRoom('allow.test'), 'alice'))).toMatchObject(forbidden);
      await expect(scene.server.connect('carol', { domain: 'allow.test' })).rejects.toMatchObject(
        kind.refusal(notAllowed),
      );
    });
  });

  describe('the fallback', () => {
    beforeEach(() => {
      responder.on('stanza-check', () => ({ failure: 'source-unavailable', text: '' }));
      responder.on('join-check', () => ({ failure: 'source-unavailable', text: '' }));
    });

    it('defer tells the client to try again', async () => {
      const again = { type: 'wait', condition: 'resource-constraint' };
      expect(await sendAndGetError(on.defer, message(on.allow.bare, 'hello'))).toMatchObject(again);
      expect(await sendAndGetError(on.defer, joinOf(newRoom('defer.test'), 'alice'))).toMatchObject(again);
    });

    it('drop says nothing to anybody', async () => {
      await on.drop.send(message(on.allow.jid, 'lost'));
      await on.drop.send(joinOf(newRoom('drop.test'), 'alice'));
      await on.drop.settle();

      expect(on.drop.inbox.map(String)).toEqual([]);
      await on.allow.settle();
      expect(on.allow.inbox.filter(hasBody('lost'))).toEqual([]);
    });
  });

  describe('a worker that does not answer', () => {
    it('is waited for as long as the budget says and no longer, and another is asked in the middle of it', async () => {
      responder.on('stanza-check', () => undefined);
      responder.on('join-check', () => undefined);
      await alice.send(message(bob.bare, 'hello'));
      await bob.take('the message', hasBody('hello'));
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toMatchObject(forbidden);

      const budgetsOf = (operation: Operation) => responder.of(operation).map((asked) => asked['budget_ms'] as number);
      const [stanza = 0, stanzaAgain = 0, ...more] = budgetsOf('stanza-check');
      expect(stanza).toBeLessThanOrEqual(250);
      expect(stanza).toBeGreaterThan(200);
      expect(stanzaAgain).toBeLessThanOrEqual(125);
      const [join = 0, joinAgain = 0, ...muchMore] = budgetsOf('join-check');
      expect(join).toBeLessThanOrEqual(1_000);
      expect(join).toBeGreaterThan(900);
      expect(joinAgain).toBeLessThanOrEqual(500);
      expect([...more, ...muchMore]).toEqual([]);
    });

    it('and answers when the budget is over is not heard', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('stanza-check', () => held.then(() => ({ verdict: 'deny' })));
      await alice.send(message(bob.bare, 'hello'));
      await bob.take('the message', hasBody('hello'));
      letGo?.();
      responder.on('stanza-check', () => ({ verdict: 'allow' }));
      await alice.send(message(bob.bare, 'marker'));
      await bob.take('the marker', hasBody('marker'));
      await alice.settle();

      expect([...alice.inbox, ...bob.inbox].map(String)).toEqual([]);
    });
  });

  describe('no worker at all', () => {
    it('takes the fallbacks, until there is one', async () => {
      await responder.stop();
      await alice.send(message(bob.bare, 'nobody is asked'));
      await bob.take('the message', hasBody('nobody is asked'));
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toMatchObject(forbidden);
      expect(await sendAndGetError(on.deny, message(on.allow.bare, 'hello'))).toMatchObject(notAllowed);
      responder = await startResponder(scene.broker.url);
      await enterRoom(alice, newRoom(), 'alice');
    });
  });

  describe('a broker that is gone', () => {
    it('fails what is in flight at once, takes the fallbacks, and asks again when it is back', async () => {
      responder.on('join-check', () => undefined);
      const inFlight = joinOf(newRoom(), 'alice');
      await alice.send(inFlight);
      await responder.untilAsked('join-check');
      await scene.broker.kill();
      expect(errorOf(await alice.reply(inFlight.attrs['id'] ?? ''))).toMatchObject(forbidden);
      expect(await sendAndGetError(on.deny, message(on.allow.bare, 'hello'))).toMatchObject(notAllowed);
      await alice.send(message(bob.bare, 'without a broker'));
      await bob.take('the message', hasBody('without a broker'));
      await scene.server.waitForOutput(/join-check failed: disconnected/);

      const before = scene.server.output().match(/Connected to NATS/g)?.length ?? 0;
      await scene.broker.restart();
      await scene.server.waitForOutput(new RegExp(`(Connected to NATS[^]*){${before + 1}}`));
      await responder.stop();
      responder = await startResponder(scene.broker.url);
      await enterRoom(alice, newRoom(), 'alice');
      await on.deny.send(message(on.allow.bare, 'asked about again'));
      await on.allow.take('the message', hasBody('asked about again'));
    });

    it('is no different when it is stopped but holds the connection', async () => {
      await scene.broker.pause();
      await alice.send(message(bob.bare, 'into the void'));
      await bob.take('the message', hasBody('into the void'));
      expect(await sendAndGetError(on.deny, message(on.allow.bare, 'hello'))).toMatchObject(notAllowed);
      scene.broker.resume();
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });

  return () => scene;
}
