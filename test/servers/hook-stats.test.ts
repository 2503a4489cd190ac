/** `<prefix>.ctl.hook-stats` against real workers: what hooks have counted reaches Prometheus, once. */
import { connect, createInbox } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodePayload } from '../../src/wire/codec.ts';
import { encodingOf } from '../../src/wire/encoding.ts';
import { encodeMessagePack } from '../../src/wire/messagepack.ts';
import { scrape, sumOf } from './metrics.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const subject = 'xmpp.policy.v1.ctl.hook-stats';

let broker: NatsServer;
let workers: WorkerProcess[] = [];
let hook: NatsConnection;

beforeAll(async () => {
  broker = await startNatsServer({ jetstream: true });
  workers = await Promise.all([1, 2, 3].map(() => startWorkerProcess(broker.url, '')));
  hook = await connect({ servers: broker.url });
});

/** Each test has a node of its own, since workers forget nothing. */
let node = '';
let nodes = 0;
beforeEach(() => {
  nodes += 1;
  node = `xmpp-${nodes}`;
});

afterAll(async () => {
  await hook.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await broker.stop();
});

function report(number: number, more: object = {}): Record<string, unknown> {
  const operations = {
    'stanza-check': { remembered: { allow: 10 }, failures: { timeout: 1 }, fallbacks: { allow: 1 } },
  };
  const gauges = { near_cache_entries: 7, near_cache_max: 50_000 };
  const sender = { v: 1, boot_id: `first of ${node}`, name: node, kind: 'prosody', version: '0.1.0', number };
  return { ...sender, operations, near_cache: { hits: 10, misses: 1, gaps: null }, gauges, ...more };
}

async function tell(payload: Record<string, unknown>): Promise<Record<string, unknown>> {
  const { data } = await hook.request(subject, encodeMessagePack(payload), { timeout: 5_000 });
  return decodePayload(data, encodingOf(data));
}

/** Over all workers, as Prometheus would. */
async function total(name: string, labels: Record<string, string> = {}): Promise<number> {
  const values = await Promise.all(workers.map(async ({ url }) => sumOf(await scrape(url), name, labels) ?? 0));
  return values.reduce((sum, value) => sum + value, 0);
}

describe('the report of a hook', () => {
  it('is acknowledged with its number, in its own encoding', async () => {
    expect(await tell(report(1))).toEqual({ v: 1, number: 1 });
    const { data } = await hook.request(subject, JSON.stringify(report(2)), { timeout: 5_000 });
    expect(Buffer.from(data).toString()).toBe('{"v":1,"number":2}');
  });

  it('is counted once when it waits for several workers that have stood still, and is repeated when they go on', async () => {
    await Promise.all(workers.map((worker) => worker.pause()));
    for (let time = 0; time < 20; time += 1)
      hook.publish(subject, encodeMessagePack(report(1)), { reply: createInbox() });
    await hook.flush();
    for (const worker of workers) worker.signal('SIGCONT');
    const acknowledged = async () => {
      try {
        return await hook.request(subject, encodeMessagePack(report(1)), { timeout: 1_000 });
      } catch {
        return undefined;
      }
    };
    while ((await acknowledged()) === undefined);
    for (let number = 2; number <= 3; number += 1) await tell(report(number));
    expect(await total('warder_hook_decisions_total', { node, by: 'near-cache', verdict: 'allow' })).toBe(30);
  });

  it('is counted once, however often it comes and whoever gets it', async () => {
    const counted = await total('warder_hook_reports_total', { outcome: 'counted' });
    const repeated = await total('warder_hook_reports_total', { outcome: 'repeated' });
    for (let time = 0; time < 30; time += 1) expect(await tell(report(1))).toEqual({ v: 1, number: 1 });
    for (let number = 2; number <= 5; number += 1) await tell(report(number));
    expect(await total('warder_hook_decisions_total', { node, by: 'near-cache', verdict: 'allow' })).toBe(50);
    expect(await total('warder_hook_failures_total', { node, kind: 'timeout' })).toBe(5);
    expect(await total('warder_hook_fallbacks_total', { node, fallback: 'allow' })).toBe(5);
    expect(await total('warder_hook_near_cache_events_total', { node, event: 'hit' })).toBe(50);
    expect((await total('warder_hook_reports_total', { outcome: 'counted' })) - counted).toBe(5);
    expect((await total('warder_hook_reports_total', { outcome: 'repeated' })) - repeated).toBe(29);
  });

  it('of a node that has started again begins with 1', async () => {
    await tell(report(1));
    await tell(report(1, { boot_id: `second of ${node}` }));
    expect(await total('warder_hook_decisions_total', { node, by: 'near-cache' })).toBe(20);
  });

  it('is known to every worker as what the node looks like now', async () => {
    await tell(report(1));
    for (const { url } of workers) {
      await expect.poll(async () => sumOf(await scrape(url), 'warder_hook_near_cache_entries', { node })).toBe(7);
      expect(sumOf(await scrape(url), 'warder_hook_info', { node, kind: 'prosody', version: '0.1.0' })).toBe(1);
    }
  });

  it.each([
    ['of another version', { v: 2 }],
    ['without a number', { number: 0 }],
    ['without a name', { name: '' }],
    ['that has counted less than nothing', { operations: { 'stanza-check': { verdicts: { allow: -1 } } } }],
    ['that has counted half of something', { operations: { 'stanza-check': { verdicts: { allow: 0.5 } } } }],
  ])('%s is counted as refused, and not acknowledged', async (_what, broken) => {
    const refused = await total('warder_hook_reports_total', { outcome: 'refused' });
    await expect(hook.request(subject, encodeMessagePack(report(1, broken)), { timeout: 300 })).rejects.toThrow(
      'TIMEOUT',
    );
    // Nobody says when it is read, since nobody is answered.
    await expect.poll(async () => (await total('warder_hook_reports_total', { outcome: 'refused' })) - refused).toBe(1);
    expect(await total('warder_hook_decisions_total', { node })).toBe(0);
    expect(await tell(report(1))).toEqual({ v: 1, number: 1 });
  });
});
