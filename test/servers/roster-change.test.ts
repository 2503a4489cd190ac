/** What clients change in their rosters, told to a real web service by real workers over a real broker. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodePayload } from '../../src/wire/codec.ts';
import { encodingOf } from '../../src/wire/encoding.ts';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const operations = ['roster-set', 'roster-subscription'] as const;
const fallbacks = ['fail', 'allow', 'deny', 'defer'] as const;

let broker: NatsServer;
let application: Application;
let other: Application;
let asker: NatsConnection;
let workers: WorkerProcess[];
/** What the application was told, in order. */
let told: Record<string, unknown>[];
/** The changes that everyone who listens has heard, with their numbers. */
let changes: { change: Record<string, unknown>; sequence: number }[];

beforeAll(async () => {
  [broker, application, other] = await Promise.all([
    startNatsServer({ jetstream: true }),
    startApplication(),
    startApplication(),
  ]);
  const routes = `
    sources:
      app.test: app
      other.test: other
      allow.test: allow
      ${fallbacks.map((word) => `${word}.down.test: { source: down, fallback: ${word} }`).join('\n      ')}`;
  const config = `
operations:
  roster-set:${routes}
  roster-subscription:${routes}
  roster-refresh: { sources: app }
  user-removed: { sources: app }
sources:
  app: { type: http, url: "${application.url}/" }
  other: { type: http, url: "${other.url}/" }
  down: { type: http, url: "http://127.0.0.1:1/" }
`;
  workers = await Promise.all([startWorkerProcess(broker.url, config), startWorkerProcess(broker.url, config)]);
  asker = await connect({ servers: broker.url });
  asker.subscribe('xmpp.policy.v1.invalidated', {
    callback: (_error, { data, headers }) => {
      const change = decodePayload(data, encodingOf(data));
      const sequence = Number(headers?.get('Nats-Sequence'));
      if (!('tick' in change)) changes.push({ change, sequence });
    },
  });
  await asker.flush();
});

afterAll(async () => {
  await asker.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all([application.stop(), other.stop()]);
  await broker.stop();
});

beforeEach(() => {
  told = [];
  changes = [];
  answering({ verdict: 'allow' });
  other.answer(json({ verdict: 'deny', reason: 'the other' }));
});

function answering(answer: unknown): void {
  application.answer((request, response, body) => {
    told.push(JSON.parse(body) as Record<string, unknown>);
    json(answer)(request, response);
  });
}

let questions = 0;

async function ask(operation: string, fields: Record<string, unknown> = {}, budgetMs = 10_000, nats = asker) {
  questions += 1;
  const change = operation === 'roster-subscription' ? { direction: 'out', action: 'subscribe' } : {};
  const request = {
    v: 1,
    id: `change-${questions}`,
    server: 'node@test',
    budget_ms: budgetMs,
    user: 'alice@app.test',
    contact: 'bob@elsewhere.test',
    ...change,
    ...fields,
  };
  const message = await nats.request(`xmpp.policy.v1.${operation}`, encodeMessagePack(request), { timeout: budgetMs });
  return decodeMessagePack(message.data);
}

/** All changes that were published before this was asked for. */
async function changesHeard(): Promise<typeof changes> {
  const marker = `marker-${(questions += 1)}@app.test`;
  await asker.jetstream().publish('xmpp.policy.v1.invalidate', encodeMessagePack({ v: 1, user: marker }));
  const isHeard = () => changes.findIndex(({ change }) => change['user'] === marker);
  while (isHeard() < 0) await asker.flush();
  return changes.slice(0, isHeard());
}

describe.each([...operations])('%s', (operation) => {
  it('is refused for whom nothing is configured, and nobody is told', async () => {
    const before = application.asked + other.asked;
    expect(await ask(operation, { user: 'alice@nowhere.test' })).toMatchObject({ verdict: 'deny', ttl_ms: 0 });
    expect(application.asked + other.asked).toBe(before);
    expect(await changesHeard()).toEqual([]);
  });

  it('is allowed where that is configured, and nobody is told', async () => {
    expect(await ask(operation, { user: 'alice@allow.test' })).toMatchObject({ verdict: 'allow' });
    expect(told).toEqual([]);
    expect(await changesHeard()).toEqual([]);
  });

  it('is told to the application with the id of the request, each time anew', async () => {
    const first = await ask(operation);
    const second = await ask(operation);
    expect([first, second]).toMatchObject([{ verdict: 'allow' }, { verdict: 'allow' }]);
    expect(told).toMatchObject(
      [first, second].map(({ id }) => ({
        operation,
        id,
        server: 'node@test',
        user: 'alice@app.test',
        contact: 'bob@elsewhere.test',
      })),
    );
  });

  it('is answered with the number of the change that it was', async () => {
    const { seq } = await ask(operation);
    const heard = await changesHeard();
    const users = operation === 'roster-set' ? ['alice@app.test'] : ['alice@app.test', 'bob@elsewhere.test'];
    expect(heard.map(({ change }) => change['user']).toSorted()).toEqual(users);
    expect(Math.max(...heard.map(({ sequence }) => sequence))).toBe(seq);
  });

  it.each(['deny', 'drop', 'defer'])('that the application answers with %s changes nothing', async (verdict) => {
    const error = { type: 'auth', condition: 'forbidden', text: 'Not him.' };
    answering({ verdict, error, reason: 'list 7' });
    expect(await ask(operation)).toMatchObject({ verdict, error, reason: 'list 7', ttl_ms: 0, scope: 'none' });
    expect(await changesHeard()).toEqual([]);
  });

  it("goes to the source of the user's domain", async () => {
    const before = other.asked;
    expect(await ask(operation, { user: 'x@other.test', contact: 'y@app.test' })).toMatchObject({
      verdict: 'deny',
      reason: 'the other',
    });
    expect([told, other.asked]).toEqual([[], before + 1]);
  });

  it.each(fallbacks.slice(1))('gets the fallback %s while the application is down', async (fallback) => {
    expect(await ask(operation, { user: `alice@${fallback}.down.test` })).toMatchObject({
      verdict: fallback,
      degraded: 'source-unavailable',
    });
    expect(await changesHeard()).toEqual([]);
  });

  it('fails while the application is down, where nothing else is configured', async () => {
    expect(await ask(operation, { user: 'alice@fail.down.test' })).toMatchObject({ failure: 'source-unavailable' });
  });

  it('is not told again when the connection breaks before the answer', async () => {
    await ask(operation);
    const before = application.asked;
    application.answer((request) => request.socket.destroy());
    expect(await ask(operation)).toMatchObject({ failure: 'source-unavailable' });
    expect(application.asked).toBe(before + 1);
  });

  it('that the application agrees to too late is made known all the same', async () => {
    let agree = (): void => undefined;
    application.answer((request, response) => {
      agree = () => json({ verdict: 'allow' })(request, response);
    });
    const before = application.asked;
    const asking = ask(operation, { budget_ms: 1_000 });
    await application.untilAsked(before + 1);
    expect(await asking).toMatchObject({ failure: 'source-unavailable' });
    agree();
    while (!changes.some(({ change }) => change['user'] === 'alice@app.test')) await asker.flush();
  });
});

it('a contact is stored as the application says', async () => {
  answering({ verdict: 'modify', item: { name: 'Robert' } });
  const modified = await ask('roster-set', { name: 'Bob', groups: ['Friends'] });
  expect(modified).toMatchObject({ verdict: 'modify', item: { name: 'Robert', groups: ['Friends'] } });
  expect(told).toMatchObject([{ name: 'Bob', groups: ['Friends'], remove: false }]);
  expect((await changesHeard()).map(({ sequence }) => sequence)).toEqual([modified['seq']]);
});

it.each([
  ['of a contact', 'roster-set', { verdict: 'modify' }, {}],
  ['of a contact that goes', 'roster-set', { verdict: 'modify', item: { name: 'x' } }, { remove: true }],
  ['of a subscription', 'roster-subscription', { verdict: 'modify', item: { name: 'x' } }, {}],
])('a modify %s that says not what is stored is no answer', async (_, operation, answer, fields) => {
  answering(answer);
  expect(await ask(operation, fields)).toMatchObject({ failure: 'source-unavailable' });
  expect(await changesHeard()).toEqual([]);
});

it('a roster that was remembered is fetched anew by every worker once it was changed', async () => {
  const refresh = (min_seq = 0) => ask('roster-refresh', { users: ['alice@app.test'], min_seq });
  answering({ items: [] });
  for (let index = 0; index < 20; index += 1) await refresh();
  answering({ verdict: 'allow' });
  const { seq } = await ask('roster-set');
  answering({ items: [{ jid: 'bob@elsewhere.test' }] });
  for (let index = 0; index < 20; index += 1) {
    expect(await refresh(Number(seq))).toMatchObject({
      rosters: { 'alice@app.test': { items: [{ jid: 'bob@elsewhere.test' }] } },
    });
  }
});

it('is counted as other decisions are', async () => {
  await ask('roster-set', { user: 'alice@deny.down.test' });
  answering({ verdict: 'drop' });
  await ask('roster-subscription');
  const metrics = await Promise.all(workers.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  const counted = 'warder_decisions_total{operation="roster-';
  expect(metrics.join()).toContain(`${counted}set",source="down",verdict="deny",degraded="true"}`);
  expect(metrics.join()).toContain(`${counted}subscription",source="app",verdict="drop",degraded="false"}`);
});

it('without a stream to number it, a change is made known all the same', async () => {
  const plain = await startNatsServer();
  const config = `
operations: { roster-subscription: { sources: app } }
sources: { app: { type: http, url: "${application.url}/" } }
`;
  const worker = await startWorkerProcess(plain.url, config);
  const nats = await connect({ servers: plain.url });
  const heard: unknown[] = [];
  nats.subscribe('xmpp.policy.v1.invalidate', {
    callback: (_error, { data }) => heard.push(decodePayload(data, encodingOf(data))['user']),
  });
  await nats.flush();
  const answer = await ask('roster-subscription', {}, 10_000, nats);
  expect(answer).toMatchObject({ verdict: 'allow', seq: 0 });
  await nats.flush();
  expect(heard).toEqual(['alice@app.test', 'bob@elsewhere.test']);
  await nats.close();
  await worker.stop();
  await plain.stop();
});

it('an account that is gone is told again under the same id until the application has heard it', async () => {
  const remove = () => ask('user-removed', { id: 'removal-of-alice', user: 'alice@app.test' });
  application.answer((_request, response, body) => {
    told.push(JSON.parse(body) as Record<string, unknown>);
    response.writeHead(503).end();
  });
  expect(await remove()).toMatchObject({ failure: 'source-unavailable' });
  expect((await changesHeard()).map(({ change }) => change['user'])).toEqual(['alice@app.test']);
  answering({});
  const removed = await remove();
  expect(removed).toMatchObject({ id: 'removal-of-alice', forgotten: true });
  expect((await changesHeard()).at(-1)).toMatchObject({
    change: { user: 'alice@app.test' },
    sequence: removed['seq'],
  });
  expect(await remove()).toMatchObject({ forgotten: true });
  const whom = { operation: 'user-removed', id: 'removal-of-alice', user: 'alice@app.test' };
  expect(told).toEqual([whom, whom, whom]);
});

it('a person can ask for it on the command line, and the application is told', async () => {
  const main = await builtMain();
  const env = { WARDER_NATS_URL: broker.url };
  const warder = (...args: string[]) => run(process.execPath, [main, 'check', ...args], { cwd: '/', env });
  answering({ verdict: 'modify', item: { name: 'Robert', groups: [] } });
  const whom = ['--user', 'alice@app.test', '--contact', 'bob@elsewhere.test'];
  const set = await warder('roster-set', ...whom, '--name', 'Bob', '--group', 'A', '--group', 'B');
  expect(set).toMatchObject({ code: 0, stderr: '' });
  expect(set.stdout).toMatch(/^modified: bob@elsewhere.test is in the roster of alice@app.test[^]*instead +named "Rob/);
  answering({ verdict: 'deny', reason: 'closed' });
  const subscription = await warder('roster-subscription', ...whom, '--direction', 'in', '--text', 'me!', '--json');
  expect(subscription).toMatchObject({ code: 3, stderr: '' });
  expect(JSON.parse(subscription.stdout)).toMatchObject({ reply: { verdict: 'deny', reason: 'closed' } });
  expect(told).toMatchObject([
    { operation: 'roster-set', name: 'Bob', groups: ['A', 'B'], remove: false },
    { operation: 'roster-subscription', direction: 'in', action: 'subscribe', text: 'me!' },
  ]);
  const help = await warder('roster-set', '--help');
  expect(help.stdout).toContain('This tells the application');
});
