/** What a worker writes down: one line of JSON an event, and never what people write to each other, whatever goes wrong. */
import { randomBytes } from 'node:crypto';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApplication } from './application.ts';
import type { Application } from './application.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

/** Longer than a word that an application has mistyped, which the log quotes. */
const secret = 'meet-me-at-the-old-mill-'.repeat(3);
let broker: NatsServer;
let application: Application;
let worker: WorkerProcess;
let nats: NatsConnection;

beforeAll(async () => {
  broker = await startNatsServer({ jetstream: true });
  application = await startApplication();
  worker = await startWorkerProcess(
    broker.url,
    `
log: { level: trace }
operations:
  stanza-check: { sources: { '*': app, filter.test: filter }, fallback: allow }
  roster-subscription: { sources: app }
  roster-refresh: { sources: app }
sources:
  app: { type: http, url: "${application.url}/", breaker: { failures: 1000 } }
  filter: { type: msg-filter-http, url: "${application.url}/{?from,to}", breaker: { failures: 1000 } }
`,
  );
  nats = await connect({ servers: broker.url });
});

afterAll(async () => {
  await nats.close();
  await worker.stop();
  await Promise.all([application.stop(), broker.stop()]);
});

let count = 0;

async function askStanza(domain: string, more: object = {}): Promise<void> {
  count += 1;
  const stanza = `<message><subject>${secret}</subject><body>${secret}</body></message>`;
  const fields = {
    hook: 'send',
    from: `a${count}@${domain}/x`,
    to: 'bob@localhost',
    kind: 'message',
    type: 'chat',
    stanza,
  };
  await ask('stanza-check', { ...fields, ...more });
}

async function ask(operation: string, fields: object): Promise<void> {
  const envelope = { v: 1, id: randomBytes(12).toString('hex'), server: 'test', budget_ms: 5_000 };
  const request = JSON.stringify({ ...envelope, ...fields });
  await nats.request(`xmpp.policy.v1.${operation}`, request, { timeout: 10_000 });
}

describe('the log of a worker', () => {
  it('holds no stanza and no text of anybody at any level, whatever a source answers with them', async () => {
    // Services echo what they were sent, in every form that is wrong, and in some that are right.
    const echoes: ((body: string) => string)[] = [
      (body) => body,
      () => secret,
      () => `{"verdict": "${secret}"}`,
      () => `{"verdict": "deny", "error": {"condition": "${secret}"}}`,
      () => `{"verdict": "modify", "stanza": "<message><body>${secret}</message>"}`,
      () => `{"verdict": "modify", "stanza": "<message><body>${secret}</body></message>"}`,
      () => `{"verdict": "deny", "notify": "<message>${secret}"}`,
      () => `{"verdict": "deny", "notify": "<message>${secret.repeat(1_000)}</message>"}`,
      () => `{"verdict": "deny", "error": "${secret}", "reason": ["${secret}"]}`,
      () => `<status value="x"/>${secret}`,
      () => `<status value="denied"><stanza1>${secret}</stanza1></status>`,
      () => `<status value="denied"><stanza1><error><${secret}/></error></stanza1>`,
      () => `{"allowed": "${secret}"`,
    ];
    for (const echo of echoes) {
      for (const status of [200, 500]) {
        application.answer((_request, response, body) => {
          response.statusCode = status;
          response.end(echo(body));
        });
        await askStanza('localhost');
        await askStanza('filter.test');
        const change = { user: 'a@localhost', contact: 'b@localhost', direction: 'in', action: 'subscribe' };
        await ask('roster-subscription', { ...change, text: secret });
      }
    }
    expect(worker.output()).toContain('source unavailable');
    expect(worker.output()).not.toContain(secret);
  });

  it('holds none of a request that cannot be read', async () => {
    await askStanza('localhost', { hook: 'nowhere' });
    await askStanza('localhost', { from: 'a b@localhost' });
    await askStanza('localhost', { kind: secret, type: secret });
    await nats.request('xmpp.policy.v1.stanza-check', `{"stanza": "${secret}`, { timeout: 5_000 });
    await nats.request('xmpp.policy.v1.stanza-check', `\u0081\u00a6stanza${secret}`, { timeout: 5_000 });
    await expect.poll(() => worker.output()).toContain('request failed');
    expect(worker.output()).not.toContain(secret);
  });

  it('is one line of JSON an event, with level, time and words', () => {
    const lines = worker.output().trim().split('\n');
    expect(lines.length).toBeGreaterThan(20);
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({
        level: expect.any(Number),
        time: expect.any(String),
        msg: expect.any(String),
      });
    }
  });
});
