/** Workers as processes of their own, over a real broker, asking a real web service. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

let broker: NatsServer;
let application: Application;
let asker: NatsConnection;
const workers: WorkerProcess[] = [];

beforeEach(async () => {
  broker = await startNatsServer({ jetstream: true });
  application = await startApplication();
  asker = await connect({ servers: broker.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
});

afterEach(async () => {
  await asker.close();
  await Promise.all(workers.splice(0).map((worker) => worker.stop()));
  await application.stop();
  await broker.stop();
});

async function startWorkers(count: number, more = ''): Promise<WorkerProcess[]> {
  const config = `
operations:
  stanza-check: { sources: app }
  roster-refresh: { sources: app }
  user-removed: { sources: app }
sources:
  app: { type: http, url: "${application.url}/" }
${more}`;
  const started = await Promise.all(Array.from({ length: count }, () => startWorkerProcess(broker.url, config)));
  workers.push(...started);
  return started;
}

let questions = 0;

async function ask(fields: Record<string, unknown> = {}, operation = 'stanza-check', budgetMs = 5_000) {
  questions += 1;
  const request = {
    v: 1,
    id: `question-${questions}`,
    server: 'node@test',
    budget_ms: budgetMs,
    hook: 'send',
    from: 'alice@localhost/phone',
    to: `user${questions}@localhost`,
    kind: 'message',
    type: 'chat',
    stanza: '<message xmlns="jabber:client"><body>hi</body></message>',
    ...fields,
  };
  const message = await asker.request(`xmpp.policy.v1.${operation}`, encodeMessagePack(request), { timeout: budgetMs });
  return decodeMessagePack(message.data);
}

describe('a worker', () => {
  it('told to stop leaves the group, answers what is in flight and exits with 0', async () => {
    const [worker] = await startWorkers(1);
    const held: (() => void)[] = [];
    application.answer((_request, response) => held.push(() => json({ verdict: 'deny' })(_request, response)));
    const asking = ask();
    await application.untilAsked(1);
    worker?.signal('SIGTERM');
    await worker?.waitForOutput(/"stopping"/);
    // Once nobody is in the group any more, the broker says so at once.
    for (;;) {
      const gone = await ask({}, 'session-check', 500).then(
        () => false,
        (error: { code?: string }) => error.code === '503',
      );
      if (gone) break;
    }
    for (const answer of held) answer();
    expect(await asking).toMatchObject({ verdict: 'deny' });
    expect(await worker?.exited).toEqual({ code: 0, signal: null });
  });

  it('told to stop while the broker is gone still exits with 0', async () => {
    const [worker] = await startWorkers(1, 'limits: { drain_timeout_ms: 300 }');
    await broker.kill();
    await worker?.waitForOutput(/"disconnected from NATS"/);
    worker?.signal('SIGTERM');
    expect(await worker?.exited).toEqual({ code: 0, signal: null });
  });

  it('killed with questions in flight costs those and no others: the next go to the other worker', async () => {
    const [first, second] = await startWorkers(2);
    application.answer(() => undefined);
    const lost = Array.from({ length: 20 }, () => ask({}, 'stanza-check', 3_000).catch(() => undefined));
    await application.untilAsked(20);
    first?.signal('SIGKILL');
    await first?.exited;
    application.answer(json({ verdict: 'allow' }));
    for (let index = 0; index < 20; index += 1) expect(await ask()).toMatchObject({ verdict: 'allow' });
    // The second worker answers its share before the budget ends, as failures; the first one's never come.
    const outcomes = await Promise.all(lost);
    expect(outcomes).toContain(undefined);
    expect(outcomes.map((outcome) => outcome?.['failure'])).toContain('source-unavailable');
    expect(second?.output()).not.toContain('"level":50');
  });

  it('that was stopped answers expired to what lay in its socket, and goes on with what is new', async () => {
    const [worker] = await startWorkers(1);
    await worker?.pause();
    const inbox = 'late';
    const late = new Promise<Record<string, unknown>>((resolve) => {
      asker.subscribe(`_INBOX.${inbox}`, { max: 1, callback: (_error, { data }) => resolve(decodeMessagePack(data)) });
    });
    const request = {
      v: 1,
      id: 'late',
      server: 's',
      budget_ms: 200,
      hook: 'send',
      from: 'a@b',
      to: 'c@b',
      kind: 'message',
    };
    asker.publish('xmpp.policy.v1.stanza-check', encodeMessagePack(request), { reply: `_INBOX.${inbox}` });
    await asker.flush();
    const askedAtMs = performance.now();
    // The budget passes while the worker stands still.
    await asker.request('nobody.listens', '', { timeout: 1 }).catch(() => undefined);
    while (performance.now() - askedAtMs < 400) await asker.flush();
    worker?.signal('SIGCONT');
    expect(await late).toMatchObject({ failure: 'expired' });
    expect(application.asked).toBe(0);
    expect(await ask()).toMatchObject({ verdict: 'allow' });
  });

  it('follows a broker that was restarted, and remembers nothing from before', async () => {
    const [worker] = await startWorkers(1);
    application.answer(json({ verdict: 'allow', scope: 'pair' }));
    await ask({ to: 'bob@localhost' });
    await ask({ to: 'bob@localhost' });
    expect(application.asked).toBe(1);
    await broker.kill();
    await broker.restart();
    await worker?.waitForOutput(/"reconnected to NATS"/);
    application.answer(json({ verdict: 'deny', scope: 'pair' }));
    let answer: Record<string, unknown> = {};
    while (answer['verdict'] === undefined) {
      answer = await ask({ to: 'bob@localhost' }).catch(() => ({}));
    }
    expect(answer).toMatchObject({ verdict: 'deny' });
  });

  it('a flush by a web request takes effect in all workers', async () => {
    const [first] = await startWorkers(3);
    application.answer(json({ verdict: 'allow', scope: 'pair' }));
    for (let index = 0; index < 30; index += 1) await ask({ to: 'bob@localhost' });
    expect(application.asked).toBe(3);
    application.answer(json({ verdict: 'deny', scope: 'pair' }));
    const response = await fetch(`${first?.url ?? ''}/mod_msg_filter/`, {
      method: 'POST',
      body: '<flush jid="bob@localhost"/>',
    });
    const { token } = (await response.json()) as { token: number };
    for (let index = 0; index < 30; index += 1) {
      expect(await ask({ to: 'bob@localhost', min_seq: token })).toMatchObject({ verdict: 'deny' });
    }
  });

  it('a removed user is forgotten and the application is told, with the id of the request', async () => {
    await startWorkers(1);
    let told: Record<string, unknown> = {};
    application.answer((request, response, body) => {
      told = JSON.parse(body) as Record<string, unknown>;
      json({})(request, response);
    });
    const reply = await ask({ user: 'alice@localhost' }, 'user-removed');
    expect(reply).toMatchObject({ forgotten: true });
    expect(told).toMatchObject({ operation: 'user-removed', user: 'alice@localhost', id: reply['id'] });
  });

  it('says in its metrics what it did, and when it is ready', async () => {
    const [worker] = await startWorkers(1);
    application.answer(json({ verdict: 'deny', scope: 'pair' }));
    await ask({ to: 'bob@localhost' });
    await ask({ to: 'bob@localhost' });
    const metrics = await (await fetch(`${worker?.url ?? ''}/metrics`)).text();
    expect(metrics).toContain(
      'warder_decisions_total{operation="stanza-check",source="app",verdict="deny",degraded="false"} 2',
    );
    expect(metrics).toContain('warder_cache_requests_total{cache="decisions",result="hit"} 1');
    expect(metrics).toMatch(/warder_source_call_duration_seconds_count\{source="app",type="http",outcome="ok"\} 1/);
    expect(metrics).toMatch(/warder_request_duration_seconds_bucket\{operation="stanza-check",le="\+Inf"\} 2/);
    const ready = await fetch(`${worker?.url ?? ''}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([
      200,
      {
        ready: true,
        components: {
          running: true,
          configuration: true,
          nats: true,
          subscribed: true,
          freshness: true,
          self_test: true,
        },
      },
    ]);
  });
});
