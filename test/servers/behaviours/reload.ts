/** Other options for a running server, and the hook taken out of it and put back. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Responder } from '../responder.ts';
import type { ServerKind } from '../server-kind.ts';
import { enterRoom, errorOf, hasBody, message } from '../xmpp-client.ts';
import type { TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function reloadSafely(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let alice: TestClient;
  let bob: TestClient;

  beforeAll(async () => {
    scene = await startSceneOn(kind);
    ({ responder } = scene);
    [alice, bob] = await Promise.all([scene.server.connect('alice'), scene.server.connect('bob')]);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => {
    responder.reset();
    for (const client of [alice, bob]) client.inbox.length = 0;
  });

  async function sendAndGetError(body: string): Promise<ReturnType<typeof errorOf>> {
    const stanza = message(bob.bare, body);
    await alice.send(stanza);
    return errorOf(await alice.reply(stanza.attrs['id'] ?? ''));
  }

  describe('a reload', () => {
    it('takes new options, and asks about each message once', async () => {
      await scene.server.reconfigure({ timeoutsMs: { 'stanza-check': 30_000 }, encoding: 'messagepack' });
      await alice.send(message(bob.bare, 'after it'));

      await bob.take('the message', hasBody('after it'));
      expect(responder.of('stanza-check')).toHaveLength(1);
      expect(responder.of('stanza-check')[0]?.['budget_ms']).toBeGreaterThan(20_000);
    });

    it('turns checks off and on again', async () => {
      responder.on('stanza-check', () => ({ verdict: 'deny' }));
      await scene.server.reconfigure({ checks: [] });
      await alice.send(message(bob.bare, 'unasked'));
      await bob.take('the message', hasBody('unasked'));
      await scene.server.reconfigure({ checks: ['stanza-check'], timeoutsMs: { 'stanza-check': 30_000 } });
      expect(await sendAndGetError('asked')).toMatchObject({ condition: 'not-allowed' });
    });

    it('loses nothing of what is being checked, on the one connection', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('stanza-check', () => held.then(() => ({ verdict: 'deny' })));
      const stanza = message(bob.bare, 'in flight');
      await alice.send(stanza);
      await responder.untilAsked('stanza-check');
      await scene.server.reconfigure({ maxStanzaSizeBytes: 1_000 });
      letGo?.();

      expect(errorOf(await alice.reply(stanza.attrs['id'] ?? ''))).toMatchObject({ condition: 'not-allowed' });
      expect(scene.server.output().match(/Connected to NATS/g)).toHaveLength(1);
    });
  });

  describe('taken out', () => {
    it('it leaves nothing behind: nothing is asked, everything passes, until it is put back', async () => {
      responder.on('stanza-check', () => ({ verdict: 'deny' }));
      responder.on('join-check', () => ({ verdict: 'deny' }));
      await kind.unload(scene.server);
      await alice.send(message(bob.bare, 'unasked'));
      await bob.take('the message', hasBody('unasked'));
      await enterRoom(alice, `${randomUUID()}@${scene.server.rooms}`, 'alice');
      expect(responder.asked).toEqual([]);
      await expect(kind.nearCacheStats(scene.server)).rejects.toThrow();

      await kind.load(scene.server);
      await scene.server.waitForOutput(/(Connected to NATS[^]*){2}/);
      expect(await sendAndGetError('asked again')).toMatchObject({ condition: 'not-allowed' });
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
