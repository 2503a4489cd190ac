/** What a server's hook has decided and failed at, as Prometheus reads it from the workers: each count once, whatever ends. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { version } from '../../../src/version.ts';
import { json, startApplication } from '../application.ts';
import type { Application } from '../application.ts';
import { scrape, sumOf } from '../metrics.ts';
import type { Sample } from '../metrics.ts';
import { startNatsServer } from '../nats-server.ts';
import type { NatsServer } from '../nats-server.ts';
import { send } from '../near-cache-scene.ts';
import type { ServerKind } from '../server-kind.ts';
import { startTcpProxy } from '../tcp-proxy.ts';
import type { TcpProxy } from '../tcp-proxy.ts';
import { startWorkerProcess } from '../worker.ts';
import type { WorkerProcess } from '../worker.ts';
import { errorOf, joinOf, xml } from '../xmpp-client.ts';
import type { TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

const node = 'xmpp one';
/** A report comes a second after connecting, and every five seconds. */
const patience = { timeout: 20_000, interval: 50 };

export function reportOnce(kind: ServerKind): void {
  let broker: NatsServer;
  let proxy: TcpProxy;
  let application: Application;
  let observer: NatsConnection;
  let workers: WorkerProcess[] = [];
  let server: XmppServer;
  let alice: TestClient;
  let bob: TestClient;
  /** Where nothing is remembered, and nobody waits for long. */
  let carol: TestClient;
  /** What Prometheus has read last from workers that are no more. */
  const gone: Sample[] = [];
  const expected = new Map<string, number>();

  const startWorker = (): Promise<WorkerProcess> => {
    const config = {
      sources: { app: { type: 'http', url: `${application.url}/` } },
      operations: { 'stanza-check': { sources: 'app' }, 'join-check': { sources: 'deny' } },
    };
    return startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
  };

  beforeAll(async () => {
    [broker, application] = await Promise.all([startNatsServer({ jetstream: true }), startApplication()]);
    proxy = await startTcpProxy(broker.port);
    application.answer(json({ verdict: 'allow', scope: 'pair' }));
    observer = await connect({ servers: broker.url });
    workers = await Promise.all([startWorker(), startWorker()]);
    server = await kind.start({
      natsUrl: `nats://127.0.0.1:${proxy.port}`,
      policy: {
        serverName: node,
        checks: ['stanza-check', 'join-check'],
        timeoutsMs: { 'stanza-check': 10_000, 'join-check': 10_000, 'roster-refresh': 300 },
        stalenessBoundMs: 30_000,
        nearCacheEntries: 5_000,
      },
      furtherHosts: [
        { host: 'hasty.test', policy: { nearCache: false, timeoutsMs: { 'stanza-check': 250 } } },
        { host: 'roster.test', policy: { checks: [], roster: true } },
      ],
    });
    await server.waitForOutput(/Connected to NATS/);
    [alice, bob, carol] = await Promise.all([
      server.connect('alice'),
      server.connect('bob'),
      server.connect('carol', { domain: 'hasty.test' }),
    ]);
  });

  afterAll(async () => {
    await server?.stop();
    for (const worker of workers) await worker.stop();
    await observer?.close();
    await application?.stop();
    await proxy?.stop();
    await broker?.stop();
  });

  async function samples(): Promise<Sample[]> {
    const now = await Promise.all(workers.map(({ url }) => scrape(url)));
    return [...gone, ...now.flat()];
  }

  async function total(name: string, labels: Record<string, string> = {}): Promise<number> {
    return sumOf(await samples(), name, labels) ?? 0;
  }

  /** Over all workers there have been: every count of what the node did with messages and joins. */
  async function counted(): Promise<Map<string, number>> {
    const sums = new Map<string, number>();
    for (const { name, labels, value } of await samples()) {
      const word = /^warder_hook_(decisions|failures|fallbacks)_total$/.exec(name)?.[1];
      if (word === undefined || labels['node'] !== node || labels['operation'] === 'roster-refresh') continue;
      const rest = ['operation', 'by', 'verdict', 'kind', 'fallback'].flatMap((key) => labels[key] ?? []);
      const key = [word, ...rest].join(' ');
      sums.set(key, (sums.get(key) ?? 0) + value);
    }
    return new Map([...sums].toSorted());
  }

  function expectMore(key: string, count = 1): void {
    if (count > 0) expected.set(key, (expected.get(key) ?? 0) + count);
  }

  /** What is counted twice shows in every later call. */
  async function untilCounted(): Promise<void> {
    await expect.poll(counted, patience).toEqual(new Map([...expected].toSorted()));
  }

  async function kill(worker: WorkerProcess): Promise<void> {
    gone.push(...(await scrape(worker.url)).filter(({ name }) => /^warder_hook_.*_total$/.test(name)));
    workers = workers.filter((one) => one !== worker);
    worker.signal('SIGKILL');
    await worker.exited;
  }

  /** Messages of which it is seen on the broker which are asked about. */
  async function exchange(times: number): Promise<void> {
    let asked = 0;
    const questions = observer.subscribe('xmpp.policy.v1.stanza-check', { callback: () => (asked += 1) });
    await observer.flush();
    for (let time = 0; time < times; time += 1) await send(alice, bob);
    await observer.flush();
    questions.unsubscribe();
    await observer.flush();
    expectMore('decisions stanza-check worker allow', asked);
    expectMore('decisions stanza-check near-cache allow', times - asked);
  }

  it('counts what workers answered and what was remembered', async () => {
    // What comes before the first number of the stream is not remembered.
    while (!expected.has('decisions stanza-check near-cache allow')) await exchange(1);
    await exchange(5);
    for (const name of ['one', 'two']) {
      const join = joinOf(`${name}@${server.rooms}`, 'alice');
      await alice.send(join);
      expect(errorOf(await alice.reply(join.attrs['id'] ?? ''))).toMatchObject({ condition: 'forbidden' });
      expectMore('decisions join-check worker deny');
    }
    // It reports a second after it is connected.
    proxy.cut();
    await untilCounted();
    const hits = await total('warder_hook_near_cache_events_total', { node, event: 'hit' });
    expect(hits).toBe(expected.get('decisions stanza-check near-cache allow'));
    expect(await total('warder_hook_near_cache_events_total', { node, event: 'miss' })).toBeGreaterThan(0);
  });

  it('shows every worker what kind of node it is, of which version, and how it stands', async () => {
    for (const { url } of workers) {
      const entries = async () => sumOf(await scrape(url), 'warder_hook_near_cache_entries', { node });
      await expect.poll(entries, patience).toBeGreaterThan(0);
      const now = await scrape(url);
      const info = { node, kind: kind.name.toLowerCase(), version };
      expect(sumOf(now, 'warder_hook_info', info)).toBe(1);
      expect(sumOf(now, 'warder_hook_near_cache_entries_max', { node })).toBe(5_000);
      expect(sumOf(now, 'warder_hook_pending_requests', { node })).toBe(0);
      expect(sumOf(now, 'warder_hook_connected_seconds', { node })).toBeGreaterThan(0);
    }
  });

  it('counts who did not answer in time, and what was done instead, for rosters too', async () => {
    await Promise.all(workers.map((worker) => worker.pause()));
    await send(carol, bob);
    for (const worker of workers) worker.signal('SIGCONT');
    expectMore('failures stanza-check timeout');
    expectMore('fallbacks stanza-check allow');
    const dora = await server.connect('dora', { domain: 'roster.test', presence: false });
    // Asked for once a client wants it, and again and again.
    await dora.ask('get', xml('query', { xmlns: 'jabber:iq:roster' }));
    proxy.cut();
    await untilCounted();
    const rosters = async (): Promise<readonly [failures: number, fallbacks: number]> => {
      const now = await samples();
      const of = (name: string, labels = {}): number =>
        sumOf(now, `warder_hook_${name}_total`, { node, operation: 'roster-refresh', ...labels }) ?? 0;
      return [of('failures'), of('fallbacks', { fallback: 'error' })];
    };
    await expect.poll(async () => (await rosters())[0], patience).toBeGreaterThan(0);
    const [failures, fallbacks] = await rosters();
    expect(fallbacks).toBe(failures);
    await expect.poll(() => total('warder_hook_rosters_online', { node }), patience).toBe(workers.length);
    await dora.stop();
  });

  it('counts once what was reported when the acknowledgement is lost, and the worker that counted it', async () => {
    const counters = async (): Promise<number[]> =>
      Promise.all(
        workers.map(
          async ({ url }) => sumOf(await scrape(url), 'warder_hook_reports_total', { outcome: 'counted' }) ?? 0,
        ),
      );
    await exchange(3);
    const before = await counters();
    const repeated = await total('warder_hook_reports_total', { outcome: 'repeated' });
    const lost = proxy.loseAnswer('number');
    proxy.cut();
    await lost;
    const reported = await counted();
    await send(carol, bob);
    expectMore('failures stanza-check disconnected');
    expectMore('fallbacks stanza-check allow');
    const after = await counters();
    const who = workers.find((_, index) => after[index] !== before[index]);
    if (who === undefined) throw new Error('no worker has counted the report');
    await kill(who);
    proxy.open();
    await expect
      .poll(() => total('warder_hook_reports_total', { outcome: 'repeated' }), patience)
      .toBeGreaterThan(repeated);
    expect(await counted()).toEqual(reported);
  });

  // Just after a report, so that none is counted between the last look at these workers and their end.
  it('counts what happened while there was no worker, when there is one again', async () => {
    for (const worker of workers) await kill(worker);
    await send(carol, bob);
    expectMore('failures stanza-check no-responders');
    expectMore('fallbacks stanza-check allow');
    workers = await Promise.all([startWorker(), startWorker()]);
    proxy.cut();
    await untilCounted();
  });

  it('loses no count when the near cache begins anew, nor when the hook is taken out and put back', async () => {
    const hits = async () => total('warder_hook_near_cache_events_total', { node, event: 'hit' });
    await exchange(2);
    await server.reconfigure({
      serverName: node,
      checks: ['stanza-check', 'join-check'],
      timeoutsMs: { 'stanza-check': 10_000 },
      stalenessBoundMs: 30_000,
      nearCacheEntries: 6_000,
    });
    await exchange(2);
    await kind.unload(server);
    await kind.load(server);
    await untilCounted();
    expect(await hits()).toBe(expected.get('decisions stanza-check near-cache allow'));
  });

  describe('in all this', () => {
    it('nothing went wrong inside the server', () => {
      expect(server.output()).not.toMatch(kind.crashed);
    });
  });
}
