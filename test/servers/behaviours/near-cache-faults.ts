/** A hook's near cache while the broker, the stream, or the server itself fails: nothing unproved is served. */
import { afterEach, expect, it } from 'vitest';
import { streamName } from '../../../src/nats/stream.ts';
import { json } from '../application.ts';
import { send, startNearCacheScene } from '../near-cache-scene.ts';
import type { NearCacheScene, NearCacheSceneOptions } from '../near-cache-scene.ts';
import type { ServerKind } from '../server-kind.ts';
import type { TestClient } from '../xmpp-client.ts';

const allow = { verdict: 'allow', scope: 'pair' };
const denied = { type: 'auth', condition: 'registration-required', text: 'Only members' };
const deny = { verdict: 'deny', error: denied, scope: 'pair' };
/** What a client is told when nobody answers: it differs from what the application says. */
const fallback = { type: 'cancel', condition: 'not-allowed', text: 'This is not allowed here' };

interface Options extends NearCacheSceneOptions {
  readonly boundMs?: number;
  /** How long an answer is waited for: long on a busy machine, unless the test is about answers that never come. */
  readonly timeoutMs?: number;
}

export function serveNothingUnproved(kind: ServerKind): void {
  let scene: NearCacheScene;
  let alice: TestClient;
  let bob: TestClient;

  /** Messages pass, by memory; whoever is not answered is denied. */
  async function start({ boundMs = 30_000, timeoutMs = 30_000, ...given }: Options = {}): Promise<void> {
    const policy = {
      fallback: { 'stanza-check': 'deny' },
      timeoutsMs: { 'stanza-check': timeoutMs },
      stalenessBoundMs: boundMs,
    };
    scene = await startNearCacheScene([kind], { ...given, policy });
    scene.application.answer(json(allow));
    [alice, bob] = await Promise.all([scene.server.connect('alice'), scene.server.connect('bob')]);
    await scene.untilRemembered(() => send(alice, bob));
  }

  afterEach(async () => {
    await scene?.stop();
  });

  /** Sends until a message is answered like this. */
  async function untilTold(what: typeof denied | undefined): Promise<void> {
    while ((await send(alice, bob))?.text !== what?.text);
  }

  it('serves nothing while the broker has stood still for longer than the bound, and serves again after it', async () => {
    await start({ boundMs: 1_000, timeoutMs: 250 });
    await scene.broker.pause();
    await untilTold(fallback);
    for (let index = 0; index < 3; index += 1) expect(await send(alice, bob)).toEqual(fallback);
    scene.broker.resume();
    await untilTold(undefined);
    await scene.untilRemembered(() => send(alice, bob));
    const { unproved } = await scene.stats();
    expect(unproved).toBeGreaterThanOrEqual(4);
  });

  it('serves what it has proved while the worker stands still, and no longer', async () => {
    await start({ boundMs: 1_000, timeoutMs: 250 });
    await scene.worker.pause();
    await untilTold(fallback);
    scene.worker.signal('SIGCONT');
    await untilTold(undefined);
  });

  it('trusts nothing from before the broker was restarted', async () => {
    await start({ timeoutMs: 250 });
    await scene.broker.kill();
    await scene.server.waitForOutput(/Lost the connection to NATS/);
    expect(await send(alice, bob)).toBeUndefined(); // the proof is younger than the bound
    scene.application.answer(json(deny));
    await scene.broker.restart();
    await scene.server.waitForOutput(/(Connected to NATS[^]*){2}/);
    expect(await send(alice, bob)).not.toBeUndefined();
    await untilTold(denied);
    await scene.untilRemembered(async () => expect(await send(alice, bob)).not.toBeUndefined());
  });

  it('follows a stream that was deleted and made anew', async () => {
    await start();
    const before = scene.seen;
    await scene.deleteStream(streamName('xmpp.policy.v1'));
    scene.application.answer(json(deny));
    await scene.warder('flush', 'user', bob.bare, '--wait', '--timeout', '20s');
    expect(scene.seen).toBeGreaterThan(before);
    expect(await send(alice, bob)).toEqual(denied);
    await scene.untilRemembered(async () => expect(await send(alice, bob)).toEqual(denied));
  });

  it('knows the stream of another prefix by its name', async () => {
    await start({ prefix: 'acme.xmpp-policy' });
    scene.application.answer(json(deny));
    await scene.warder('flush', 'user', bob.bare, '--wait');
    expect(await send(alice, bob)).toEqual(denied);
    expect(await scene.stats()).toMatchObject({ foreign: 0, gaps: 0 });
  });

  it('without JetStream remembers by the time to live, and drops what it hears of', async () => {
    await start({ nats: {}, boundMs: 200 });
    scene.application.answer(json({ ...deny, ttl_ms: 300 }));
    await scene.publish('invalidate', JSON.stringify({ v: 1, user: bob.bare }));
    await untilTold(denied);
    await scene.untilRemembered(async () => expect(await send(alice, bob)).toEqual(denied));
    scene.application.answer(json(allow));
    await untilTold(undefined);
    expect(scene.seen).toBe(0);
  });

  it('of a server that stands still is named as silent, and serves nothing older once it goes on', async () => {
    await start({ boundMs: 2_000 });
    await scene.server.pause();
    scene.application.answer(json(deny));
    const { code, stdout } = await scene.warder('flush', 'user', bob.bare, '--wait', '--json');
    scene.server.resume();
    expect(await send(alice, bob)).toEqual(denied);
    expect(code).toBe(0);
    const { silent, token } = JSON.parse(stdout) as { silent: { kind: string; seen: number }[]; token: number };
    expect(silent).toMatchObject([{ kind: 'hook' }]);
    expect(silent[0]?.seen).toBeLessThan(token);
  });
}
