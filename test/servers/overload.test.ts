/** More than can be done, and workers that cannot do it: what a real cluster answers, and what its source is spared. */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { json, startApplication } from './application.ts';
import { startHookAsker } from './hook-asker.ts';
import type { HookAskerOptions, Outcome } from './hook-asker.ts';
import { scrape, sumOf } from './metrics.ts';
import { startNatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const maxConcurrent = 4;

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

/** An application that takes 20 ms for each answer, and counts how many questions it has at once. */
async function startCluster(workerCount: number, options: HookAskerOptions) {
  const broker = await startNatsServer({ jetstream: true });
  stops.push(() => broker.stop());
  const application = await startApplication();
  stops.push(() => application.stop());
  let underWay = 0;
  let most = 0;
  application.answer((request, response) => {
    underWay += 1;
    most = Math.max(most, underWay);
    setTimeout(() => {
      underWay -= 1;
      json({ verdict: 'allow', scope: 'pair' })(request, response);
    }, 20);
  });
  const config = {
    operations: { 'stanza-check': { sources: 'app' } },
    sources: { app: { type: 'http', url: `${application.url}/`, max_concurrent: maxConcurrent, timeout_ms: 60_000 } },
  };
  const workers: WorkerProcess[] = [];
  for (let count = 0; count < workerCount; count += 1) {
    const worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
    stops.push(() => worker.stop());
    workers.push(worker);
  }
  const asker = await startHookAsker(broker.url, options);
  stops.push(() => asker.stop());
  const askAll = (count: number): Promise<Outcome[]> =>
    Promise.all(Array.from({ length: count }, (_, index) => asker.ask('alice@localhost', `user${index}@localhost`)));
  return { broker, application, workers, asker, askAll, most: () => most };
}

/** Of a worker's own metrics. */
async function metric({ url }: WorkerProcess, name: string, labels: Record<string, string> = {}): Promise<number> {
  return sumOf(await scrape(url), name, labels) ?? Number.NaN;
}

describe('a worker that is offered too much', () => {
  it('refuses at once what could not be answered in time, and asks its source no more than it takes', async () => {
    const { workers, askAll, most } = await startCluster(1, { budgetMs: 2_000, doesHedge: false });
    await askAll(maxConcurrent); // from here on it is known how long calls take
    const outcomes = await askAll(1_500);
    const refused = outcomes.filter(({ word }) => word === 'overloaded');
    expect(refused.length).toBeGreaterThan(0);
    expect(outcomes.some(({ word }) => word === 'allow')).toBe(true);
    expect(most()).toBe(maxConcurrent);
    const [worker] = workers as [WorkerProcess];
    expect(await metric(worker, 'warder_requests_shed_total', { reason: 'overloaded' })).toBe(refused.length);
    expect(await metric(worker, 'warder_source_breaker_state')).toBe(0);
  });

  it('spares its source when everything is flushed under load, and opens no circuit', async () => {
    const { broker, workers, application, askAll, most } = await startCluster(1, { budgetMs: 60_000 });
    await askAll(200);
    const before = application.asked;
    expect((await askAll(200)).every(({ word }) => word === 'allow')).toBe(true);
    expect(application.asked).toBe(before);
    const nats = await connect({ servers: broker.url });
    stops.push(() => nats.close());
    await nats.jetstream().publish('xmpp.policy.v1.invalidate', JSON.stringify({ v: 1, all: true, reason: 'test' }));
    const [worker] = workers as [WorkerProcess];
    let asked: Outcome[] = [];
    while (application.asked < before + 200) asked = [...asked, ...(await askAll(200))];
    expect(asked.filter(({ word, isDegraded }) => word !== 'allow' || isDegraded)).toEqual([]);
    expect(most()).toBe(maxConcurrent);
    expect(worker.output()).not.toContain('circuit opened');
    expect(await metric(worker, 'warder_source_breaker_state')).toBe(0);
  });
});

describe('one of three workers', () => {
  it('stopped is what the second asking is for', async () => {
    const { workers, askAll } = await startCluster(3, { budgetMs: 4_000 });
    await askAll(20);
    await workers[0]?.pause();
    const outcomes = await askAll(60);
    const missed = outcomes.filter(({ word }) => word !== 'allow');
    const rescued = outcomes.filter(({ word, isHedged }) => word === 'allow' && isHedged);
    expect(rescued.length).toBeGreaterThan(0);
    // Only who has reached the stopped one twice, or was not asked again because so many were.
    expect(missed.every(({ word }) => word === 'timeout')).toBe(true);
    expect(missed.length).toBeLessThan(outcomes.length / 2);
    workers[0]?.signal('SIGCONT');
  });

  it('whose event loop stood still leaves the queue group, and comes back', async () => {
    const { workers, askAll } = await startCluster(3, { budgetMs: 60_000 });
    const [worker] = workers as [WorkerProcess];
    await worker.pause();
    await delay(800); // for so long it stands still
    worker.signal('SIGCONT');
    await worker.waitForOutput(/left the queue group/);
    expect((await askAll(50)).filter(({ word }) => word !== 'allow')).toEqual([]);
    await worker.waitForOutput(/back in the queue group/);
    expect(await metric(worker, 'warder_queue_group_member')).toBe(1);
    expect(await metric(worker, 'warder_queue_group_leaves_total')).toBeGreaterThan(0);
  });

  it('who is the only one left goes nowhere, however it lags', async () => {
    const { workers, askAll } = await startCluster(1, { budgetMs: 60_000 });
    const [worker] = workers as [WorkerProcess];
    await worker.pause();
    await delay(800); // for so long it stands still
    worker.signal('SIGCONT');
    expect((await askAll(50)).filter(({ word }) => word !== 'allow')).toEqual([]);
    expect(await metric(worker, 'warder_queue_group_leaves_total')).toBe(0);
  });
});
