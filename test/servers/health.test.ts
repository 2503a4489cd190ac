/** What a worker says of itself to whoever restarts or replaces it. */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeMessagePack } from '../../src/wire/messagepack.ts';
import { startApplication } from './application.ts';
import { startNatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function startAll(nats = { jetstream: true }) {
  const broker = await startNatsServer(nats);
  stops.push(() => broker.stop());
  const application = await startApplication();
  stops.push(() => application.stop());
  const config = {
    operations: { 'session-check': { sources: 'app' } },
    sources: { app: { type: 'http', url: `${application.url}/`, timeout_ms: 60_000 } },
  };
  const worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
  stops.push(() => worker.stop());
  return { broker, application, worker };
}

async function readiness({ url }: WorkerProcess) {
  const response = await fetch(`${url}/readyz`);
  const { components } = (await response.json()) as { components: Record<string, boolean> };
  const missing = Object.keys(components).filter((name) => components[name] !== true);
  return { status: response.status, missing };
}

/** Asks until it is so: against hangs the test has its own end. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(20);
}

describe('the health of a worker', () => {
  it.each([true, false])('is good when it has all that it needs, with JetStream: %s', async (jetstream) => {
    const { worker } = await startAll({ jetstream });
    expect(await readiness(worker)).toEqual({ status: 200, missing: [] });
  });

  it('names what is missing while the broker is gone, and is alive all the same', async () => {
    const { broker, worker } = await startAll();
    await broker.kill();
    await until(async () => (await readiness(worker)).missing.includes('freshness'));
    expect(await readiness(worker)).toEqual({ status: 503, missing: ['nats', 'freshness', 'self_test'] });
    expect((await fetch(`${worker.url}/healthz`)).status).toBe(200);
    await broker.restart();
    await until(async () => (await readiness(worker)).status === 200);
  });

  it('shows a broker that has stopped answering before its connection is given up', async () => {
    const { broker, worker } = await startAll();
    await broker.pause();
    const answers = await Promise.all([readiness(worker), readiness(worker)]);
    expect(answers.map(({ missing }) => missing.includes('self_test'))).toEqual([true, true]);
    expect((await fetch(`${worker.url}/healthz`)).status).toBe(200);
    broker.resume();
    await until(async () => (await readiness(worker)).status === 200);
  });

  it('is no longer ready from the moment at which it is told to stop, while it still answers what it was asked', async () => {
    const { broker, worker, application } = await startAll();
    let letGo: (() => void) | undefined;
    application.answer((_request, response) => {
      letGo = () => response.end('{"verdict":"allow"}');
    });
    const nats = await connect({ servers: broker.url });
    stops.push(() => nats.close());
    const question = { v: 1, id: 'q', server: 'node', budget_ms: 30_000, user: 'alice@localhost/phone' };
    const answered = nats.request('xmpp.policy.v1.session-check', encodeMessagePack(question), { timeout: 60_000 });
    await application.untilAsked(1);
    worker.signal('SIGTERM');
    await until(async () => (await readiness(worker)).missing.includes('running'));
    expect((await readiness(worker)).missing).toContain('subscribed');
    letGo?.();
    await answered;
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });
});
