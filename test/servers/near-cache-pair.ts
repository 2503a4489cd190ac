/** Two users of a server with a near cache, new for each test, whom nobody has been asked about. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { json } from './application.ts';
import { send, startNearCacheScene } from './near-cache-scene.ts';
import type { NearCacheScene, NearCacheSceneOptions } from './near-cache-scene.ts';
import type { ServerKind } from './server-kind.ts';
import type { TestClient } from './xmpp-client.ts';

export interface NearCachePair {
  readonly scene: NearCacheScene;
  readonly alice: TestClient;
  readonly bob: TestClient;
  /** The number in their names. */
  readonly names: number;
  /** How many questions these cost. */
  costOf(work: () => Promise<unknown>): Promise<number>;
}

export const nearCachePolicy = {
  serverName: 'node one',
  // Long enough that no proof grows old on a busy machine.
  stalenessBoundMs: 30_000,
  timeoutsMs: { 'stanza-check': 10_000, 'join-check': 10_000 },
  checks: ['stanza-check', 'join-check'],
} as const;

/** For the tests of one `describe`. `more` is asked when they begin. @returns the pair of the test that runs */
export function usePair(kind: ServerKind, more: () => NearCacheSceneOptions = () => ({})): () => NearCachePair {
  let scene: NearCacheScene;
  let alice: TestClient;
  let bob: TestClient;
  let names = 0;

  beforeAll(async () => {
    scene = await startNearCacheScene([kind], {
      stanzaCheck: { fallback: 'allow' },
      policy: nearCachePolicy,
      furtherHosts: [
        { host: 'two.test', policy: { stanzaHooks: ['local'] } },
        { host: 'off.test', policy: { nearCache: false } },
      ],
      components: { 'gateway.localhost': 'secret' },
      ...more(),
    });
  });

  afterAll(() => scene?.stop());

  beforeEach(async () => {
    scene.application.answer(json({ verdict: 'allow', scope: 'pair' }));
    names += 1;
    [alice, bob] = await Promise.all([scene.server.connect(`alice${names}`), scene.server.connect(`bob${names}`)]);
    // The first question is also the first hit's proof.
    await scene.untilRemembered(() => send(bob, alice));
  });

  const costOf = async (work: () => Promise<unknown>): Promise<number> => {
    const before = await scene.asked();
    await work();
    return (await scene.asked()) - before;
  };
  return () => ({ scene, alice, bob, names, costOf });
}
