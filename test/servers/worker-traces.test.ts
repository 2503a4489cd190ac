/** The trace context of a request, from NATS through a real worker to each type of source that is called. */
import { randomBytes } from 'node:crypto';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApplication } from './application.ts';
import type { Application } from './application.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startPostgresServer } from './postgres-server.ts';
import type { PostgresServer } from './postgres-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

let broker: NatsServer;
let postgres: PostgresServer;
let application: Application;
let worker: WorkerProcess;
let nats: NatsConnection;
/** By path, the trace context that the last request had. */
const traced = new Map<string, unknown>();

beforeAll(async () => {
  [broker, postgres] = await Promise.all([startNatsServer({ jetstream: true }), startPostgresServer()]);
  application = await startApplication();
  application.answer(({ url = '', headers }, response) => {
    const path = url.split('?')[0] ?? '';
    traced.set(path, headers['traceparent']);
    const answers: Record<string, string> = {
      '/any': '{"verdict": "allow", "items": []}',
      '/filter': '<status value="allowed"/>',
      '/muc': '{"allowed": true}',
      '/roster': '{}',
    };
    response.end(answers[path]);
  });
  const at = (path: string) => `${application.url}${path}`;
  // What the database is asked is the name of the one contact.
  const query = "SELECT 'bob@localhost' AS jid, current_query() AS name WHERE $1::text IS NOT NULL -- the end";
  const config = {
    sources: {
      any: { type: 'http', url: at('/any') },
      filter: { type: 'msg-filter-http', url: `${at('/filter')}{?from,to}` },
      muc: { type: 'muc-auth-http', url: at('/muc') },
      roster: { type: 'roster-http', url: `${at('/roster')}?user=%s` },
      database: { type: 'roster-sql', url: postgres.url, query },
    },
    operations: {
      'stanza-check': { sources: { '*': 'any', 'filter.test': 'filter' } },
      'join-check': { sources: { '*': 'any', 'muc.test': 'muc' } },
      'session-check': { sources: 'any' },
      'roster-refresh': { sources: { '*': 'any', 'roster.test': 'roster', 'sql.test': 'database' } },
      'roster-set': { sources: 'any' },
      'roster-subscription': { sources: 'any' },
      'user-removed': { sources: 'any' },
    },
  };
  worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
  nats = await connect({ servers: broker.url });
});

afterAll(async () => {
  await nats.close();
  await worker.stop();
  await Promise.all([application.stop(), broker.stop(), postgres.stop()]);
});

const newTrace = () => `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;

async function ask(operation: string, fields: object): Promise<Record<string, unknown>> {
  const envelope = { v: 1, id: randomBytes(12).toString('hex'), server: 'test', budget_ms: 10_000 };
  const request = JSON.stringify({ ...envelope, ...fields });
  return (await nats.request(`xmpp.policy.v1.${operation}`, request, { timeout: 10_000 })).json();
}

const user = 'alice@localhost';
const stanza = {
  hook: 'send',
  kind: 'message',
  type: 'chat',
  to: 'bob@localhost',
  stanza: '<message><body/></message>',
};
const change = { user, contact: 'bob@localhost' };

describe('the trace context of a request', () => {
  it.each<[string, string, object, string]>([
    ['http', 'stanza-check', { ...stanza, from: 'alice@localhost/phone' }, '/any'],
    ['http', 'join-check', { user: `${user}/phone`, room: 'lobby@rooms.localhost', nick: 'x' }, '/any'],
    ['http', 'session-check', { user: `${user}/phone` }, '/any'],
    ['http', 'roster-refresh', { users: [user] }, '/any'],
    ['http', 'roster-set', { ...change, name: 'Bob' }, '/any'],
    ['http', 'roster-subscription', { ...change, direction: 'out', action: 'subscribe' }, '/any'],
    ['http', 'user-removed', { user }, '/any'],
    ['msg-filter-http', 'stanza-check', { ...stanza, from: 'alice@filter.test/phone' }, '/filter'],
    ['muc-auth-http', 'join-check', { user: `${user}/phone`, room: 'lobby@muc.test', nick: 'x' }, '/muc'],
    ['roster-http', 'roster-refresh', { users: ['alice@roster.test'] }, '/roster'],
  ])('reaches a source of type %s that is asked %s', async (_type, operation, fields, path) => {
    const traceparent = newTrace();
    const reply = await ask(operation, { ...fields, traceparent });
    expect(reply).not.toHaveProperty('failure');
    expect(traced.get(path)).toBe(traceparent);
  });

  it('reaches a database as a comment of the statement, where the log of the database shows it', async () => {
    const traceparent = newTrace();
    const { rosters } = await ask('roster-refresh', { users: ['alice@sql.test'], traceparent });
    const [item] = (rosters as Record<string, { items: { name: string }[] }>)['alice@sql.test']?.items ?? [];
    expect(item?.name).toMatch(new RegExp(`-- the end\\n/\\*traceparent='${traceparent}'\\*/$`));
    const without = await ask('roster-refresh', { users: ['bob@sql.test'] });
    expect(JSON.stringify(without)).toContain('-- the end"');
  });

  it('that is none goes nowhere', async () => {
    const evil = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/; DROP TABLE contacts --";
    const { rosters } = await ask('roster-refresh', { users: ['carol@sql.test'], traceparent: evil });
    expect(JSON.stringify(rosters)).not.toContain('DROP');
    await ask('session-check', { user: 'carol@localhost/phone', traceparent: evil });
    expect(traced.get('/any')).toBeUndefined();
  });
});
