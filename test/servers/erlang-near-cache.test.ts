/**
 * The near cache of the Erlang hooks against a real broker, with the stream and the numbers of a real worker, while one
 * after the other fails: nothing that was missed is served.
 */
import { tmpdir } from 'node:os';
import { connect } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { streamName } from '../../src/nats/stream.ts';
import { Proxy } from '../freshness/proxy.ts';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import { startErlangNode } from './erlang-node.ts';
import type { Decided, ErlangNode } from './erlang-node.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';

const allow = json({ verdict: 'allow', scope: 'pair' });
const deny = json({ verdict: 'deny', scope: 'pair' });
const [alice, bob, carol] = ['alice@one.test', 'bob@two.test', 'carol@one.test'];

interface Scene {
  readonly broker: NatsServer;
  /** Between the node and the broker. */
  readonly proxy: Proxy;
  readonly application: Application;
  readonly node: ErlangNode;
  /** `warder flush`: its report. */
  flush(...scope: string[]): Promise<Report>;
}

interface Report {
  readonly token: number;
  readonly reported: readonly { kind: string; name: string; seen: number }[];
  readonly silent: readonly { kind: string; name: string; seen: number }[];
}

const stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

interface Options {
  /** By default so long that no proof grows old on a busy machine. */
  readonly boundMs?: number;
  readonly budgetMs?: number;
  readonly jetstream?: boolean;
  readonly hasWorker?: boolean;
}

async function start(options: Options = {}): Promise<Scene> {
  const { boundMs = 30_000, budgetMs = 10_000, jetstream = true, hasWorker = true } = options;
  const main = await builtMain();
  const broker = await startNatsServer({ jetstream });
  stops.push(() => broker.stop());
  const application = await startApplication();
  stops.push(() => application.stop());
  application.answer(allow);
  if (hasWorker) {
    const config = {
      sources: { app: { type: 'http', url: `${application.url}/`, breaker: { failures: 1_000 } } },
      operations: { 'stanza-check': { sources: 'app' } },
    };
    const worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
    stops.push(() => worker.stop());
  }
  const proxy = new Proxy(broker.port);
  const port = await proxy.start();
  stops.push(() => proxy.stop());
  const node = await startErlangNode({ natsUrl: `nats://127.0.0.1:${port}`, boundMs, budgetMs });
  stops.push(() => node.stop());
  await node.untilState(({ connects }) => connects === 1);
  const flush = async (...scope: string[]): Promise<Report> => {
    const env = { WARDER_NATS_URL: broker.url };
    const { stdout } = await run(process.execPath, [main, 'flush', ...scope, '--json'], { cwd: tmpdir(), env });
    return JSON.parse(stdout) as Report;
  };
  return { broker, proxy, application, node, flush };
}

/** Asks until the answer comes from memory. */
async function untilRemembered({ node }: Scene): Promise<void> {
  for (;;) {
    const { verdict, asked } = await node.decide(alice, bob);
    if (verdict !== undefined && asked !== true) return;
  }
}

async function untilDecided({ node }: Scene, isSo: (decided: Decided) => boolean): Promise<Decided> {
  for (;;) {
    const decided = await node.decide(alice, bob);
    if (isSo(decided)) return decided;
  }
}

describe('the near cache in Erlang', () => {
  it('is among those whom a flush waits for, and decides anew after it', async () => {
    const scene = await start();
    await untilRemembered(scene);
    scene.application.answer(deny);
    const { token, reported } = await scene.flush('user', bob, '--wait');
    expect(reported).toContainEqual(expect.objectContaining({ kind: 'hook', name: 'node one' }));
    expect((await scene.node.state()).seen).toBeGreaterThanOrEqual(token);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny', asked: true });
    await scene.flush('user', carol, '--wait');
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny' });
  });

  it('clears at a missed number', async () => {
    const scene = await start();
    await untilRemembered(scene);
    scene.application.answer(deny);
    const { gaps = 0 } = await scene.node.state();
    scene.proxy.losing = true;
    await scene.flush('user', bob);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'allow' }); // it cannot know yet
    scene.proxy.losing = false;
    await scene.node.untilState((state) => (state['gaps'] ?? 0) > gaps);
    expect(await scene.node.recall(alice, bob)).toEqual({ miss: true });
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny', asked: true });
  });

  it('that hears nothing and is answered still serves nothing once its last proof is too old', async () => {
    const scene = await start({ boundMs: 1_000 });
    await untilRemembered(scene);
    scene.application.answer(deny);
    scene.proxy.losing = true;
    await scene.flush('user', bob);
    const { unproved = 0 } = await scene.node.state();
    // Other questions are answered all the time, and prove nothing as long as their number does not come.
    for (let index = 0; (await scene.node.recall(alice, bob)).miss !== true; index += 1) {
      await scene.node.decide(`other${index}@one.test`, bob);
    }
    expect((await scene.node.state())['unproved']).toBeGreaterThan(unproved);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny', asked: true });
  });

  it('trusts nothing from before the broker was killed and restarted, and does not take it for one without JetStream', async () => {
    const scene = await start({ budgetMs: 250 });
    await untilRemembered(scene);
    const { seen = 0 } = await scene.node.state();
    await scene.broker.kill();
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'allow' }); // the proof is younger than the bound
    expect(await scene.node.decide(alice, carol)).toEqual({ failure: expect.any(String) as unknown });
    scene.application.answer(deny);
    await scene.broker.restart();
    await scene.node.untilState(({ connects }) => connects === 2);
    expect(await scene.node.recall(alice, bob)).toEqual({ miss: true });
    await untilDecided(scene, ({ verdict, asked }) => verdict === 'allow' || (verdict === 'deny' && asked !== true));
    expect(await scene.node.recall(alice, bob)).toEqual({ verdict: 'deny' });
    const state = await scene.node.state();
    expect(state.is_counted).toBe(false);
    expect(state.seen).toBeGreaterThan(seen);
  });

  it('does not count by itself when a worker finds no stream at a broker that has JetStream', async () => {
    const scene = await start({ hasWorker: false });
    const nats = await connect({ servers: scene.broker.url });
    stops.push(() => nats.close());
    // A worker to which the restarting broker says "no responders" for its JetStream.
    nats.subscribe('xmpp.policy.v1.stanza-check', {
      callback: (_error, request) => {
        const { id } = request.json<{ id: string }>();
        const reply = { v: 1, id, seq: 0, age_ms: 0, verdict: 'allow', scope: 'pair', ttl_ms: 60_000 };
        request.respond(JSON.stringify(reply));
      },
    });
    await nats.flush();
    for (let times = 0; times < 5; times += 1) {
      expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'allow', asked: true });
    }
    expect(await scene.node.state()).toMatchObject({ is_counted: false, entries: 0 });
  });

  it('has forgotten all when its connection is back: what was published meanwhile never reached it', async () => {
    const scene = await start();
    await untilRemembered(scene);
    scene.application.answer(deny);
    scene.proxy.hold();
    await scene.flush('user', bob);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'allow' }); // its proof is young
    scene.proxy.cut();
    scene.proxy.release();
    await scene.node.untilState(({ connects }) => connects === 2);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny', asked: true });
    await untilRemembered(scene);
    expect(await scene.node.recall(alice, bob)).toEqual({ verdict: 'deny' });
  });

  it('follows a stream that was deleted and made anew', async () => {
    const scene = await start();
    await untilRemembered(scene);
    const { seen = 0 } = await scene.node.state();
    const nats = await connect({ servers: scene.broker.url });
    stops.push(() => nats.close());
    await (await nats.jetstreamManager()).streams.delete(streamName('xmpp.policy.v1'));
    scene.application.answer(deny);
    const { token } = await scene.flush('user', bob, '--wait', '--timeout', '20s');
    expect(token).toBeGreaterThan(seen);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny', asked: true });
    await untilRemembered(scene);
    expect(await scene.node.recall(alice, bob)).toEqual({ verdict: 'deny' });
  });

  it('of a node that stood still serves nothing older as the first thing that it does', async () => {
    const scene = await start({ boundMs: 2_000 });
    await untilRemembered(scene);
    await scene.node.pause();
    // In its stdin before it wakes, as the change is in its socket.
    scene.application.answer(deny);
    const { silent, token } = await scene.flush('user', bob, '--wait');
    const first = scene.node.decide(alice, bob);
    scene.node.resume();
    expect(await first).toEqual({ verdict: 'deny', asked: true });
    const [one, ...others] = silent.filter(({ kind }) => kind === 'hook');
    expect([one?.name, others]).toEqual(['node one', []]);
    expect(one?.seen).toBeLessThan(token);
  });

  it('without JetStream remembers by the time to live, drops what it hears of, and clears at each connection', async () => {
    const scene = await start({ jetstream: false, boundMs: 200 });
    await untilRemembered(scene);
    expect(await scene.node.state()).toMatchObject({ is_counted: true, seen: 0 });
    scene.application.answer(deny);
    const nats = await connect({ servers: scene.broker.url });
    stops.push(() => nats.close());
    const { changes = 0 } = await scene.node.state();
    nats.publish('xmpp.policy.v1.invalidate', JSON.stringify({ v: 1, user: bob }));
    await scene.node.untilState((state) => (state['changes'] ?? 0) > changes);
    expect(await scene.node.decide(alice, bob)).toEqual({ verdict: 'deny', asked: true });
    await untilRemembered(scene);
    scene.proxy.cut();
    await scene.node.untilState(({ connects }) => connects === 2);
    expect(await scene.node.recall(alice, bob)).toEqual({ miss: true });
    await untilRemembered(scene);
    expect(scene.node.output()).not.toMatch(/near cache failed/);
  });
});
