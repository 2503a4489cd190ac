/** A worker as users run it, between NATS and PostgreSQL: what others change there, its answers know. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import type { PostgresServer } from './postgres-server.ts';
import { contactsQuery, startRosterDatabase } from './roster-database.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const prefix = 'xmpp.policy.v1';
const patience = { timeout: 60_000, interval: 10 };
const boundMs = 500;

let postgres: PostgresServer;
let broker: NatsServer;
let worker: WorkerProcess;
let nats: NatsConnection;
const heard: Record<string, unknown>[] = [];

beforeAll(async () => {
  [postgres, broker] = await Promise.all([startRosterDatabase(), startNatsServer({ jetstream: true })]);
  await postgres.psql("INSERT INTO contacts (owner, jid, name) VALUES ('carol@kept.test', 'bob@localhost', 'Bob')");
  nats = await connect({ servers: broker.url });
  nats.subscribe(`${prefix}.invalidated`, { callback: (_, message) => void heard.push(message.json()) });
  await nats.flush();
  const database = {
    type: 'roster-sql',
    url: postgres.url,
    query: contactsQuery,
    timeout_ms: 1_000,
    breaker: { failures: 1_000 },
    set: {
      statement: 'UPDATE contacts SET name = $3 WHERE owner = $1 AND jid = $2',
      parameters: ['jid', 'contact', 'name'],
    },
    remove: { statement: 'DELETE FROM contacts WHERE owner = $1 AND jid = $2', parameters: ['jid', 'contact'] },
    user_removed: { statement: 'DELETE FROM contacts WHERE owner = $1', parameters: ['jid'] },
    listen: { channel: 'warder_roster' },
  };
  const config = {
    freshness: { bound_ms: boundMs },
    sources: { database, last_known: database },
    operations: {
      'roster-refresh': {
        ttl_ms: 3_600_000,
        sources: { '*': 'database', 'kept.test': { source: 'last_known', fallback: 'stale' } },
      },
      'roster-set': { sources: 'database' },
      'user-removed': { sources: 'database' },
    },
  };
  worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
});
afterAll(async () => {
  await nats?.close();
  await worker?.stop();
  await Promise.all([broker?.stop(), postgres?.stop()]);
});

let ids = 0;
async function request(operation: string, fields: object): Promise<Record<string, unknown>> {
  const envelope = { v: 1, id: `request-${(ids += 1)}`, server: 'test', budget_ms: 20_000 };
  return (
    await nats.request(`${prefix}.${operation}`, JSON.stringify({ ...envelope, ...fields }), { timeout: 30_000 })
  ).json();
}

interface Answer {
  readonly updated: number;
  readonly failed: Record<string, string>;
  readonly rosters: Record<string, { items: { jid: string; name?: string }[] } | undefined>;
}

async function roster(
  user: string,
): Promise<{ name: string | undefined; updated: number; failed: string | undefined }> {
  const answer = (await request('roster-refresh', { users: [user], reason: 'login' })) as unknown as Answer;
  const { updated, rosters, failed } = answer;
  return { name: rosters[user]?.items[0]?.name, updated, failed: failed[user] };
}

/** Until it is answered from memory: the source is heard, and the broker's order is proved. */
async function untilRemembered(user: string): Promise<void> {
  await vi.waitUntil(async () => {
    const { updated, failed } = await roster(user);
    return updated === 0 && failed === undefined;
  }, patience);
}

const rename = (user: string, name: string) =>
  postgres.psql(`UPDATE contacts SET name = '${name}' WHERE owner = '${user}'`);

beforeEach(async () => {
  await postgres.psql(`DELETE FROM contacts WHERE owner = 'alice@localhost';
    INSERT INTO contacts (owner, jid, name) VALUES ('alice@localhost', 'bob@localhost', 'Bob')`);
});

describe('a worker that listens to PostgreSQL', () => {
  it('says at its start that every roster may have changed, for hooks that are here longer', async () => {
    await vi.waitUntil(() => heard.some((change) => change['operation'] === 'roster-refresh'), patience);
  });

  it('serves nothing from memory while the database stands still, except where the last known is wanted', async () => {
    // Both sources listen and have said so, and what they have said stands before this in the order of changes.
    await untilRemembered('alice@localhost');
    await untilRemembered('carol@kept.test');
    await postgres.psql("NOTIFY warder_roster, 'marker@localhost'");
    await vi.waitUntil(() => heard.some((change) => change['user'] === 'marker@localhost'), patience);
    await untilRemembered('carol@kept.test');
    await postgres.pause();
    await vi.waitUntil(async () => (await roster('alice@localhost')).failed === 'source-unavailable', patience);
    const kept = await roster('carol@kept.test');
    postgres.resume();
    expect(kept.name).toBe('Bob');
    await untilRemembered('alice@localhost');
  });

  it('makes a row that somebody changes known, and answers with it', async () => {
    await untilRemembered('alice@localhost');
    heard.length = 0;
    await rename('alice@localhost', 'Robert');
    await vi.waitUntil(() => heard.some((change) => change['user'] === 'alice@localhost'), patience);
    expect((await roster('alice@localhost')).name).toBe('Robert');
  });

  it('knows what was changed after the database was restarted and before it listened again', async () => {
    await untilRemembered('alice@localhost');
    await postgres.psql('ALTER TABLE contacts DISABLE TRIGGER warder_roster_changed');
    await postgres.shutDown();
    await worker.pause();
    await postgres.restart();
    await rename('alice@localhost', 'Rob');
    heard.length = 0;
    worker.signal('SIGCONT');
    await vi.waitUntil(() => heard.some((change) => change['operation'] === 'roster-refresh'), patience);
    // The trigger was off: all that can have told the worker is that it had been deaf.
    await postgres.psql('ALTER TABLE contacts ENABLE TRIGGER warder_roster_changed');
    await vi.waitUntil(async () => (await roster('alice@localhost')).name === 'Rob', patience);
  });

  it('tells it what clients want, and everybody what has come of it', async () => {
    await untilRemembered('alice@localhost');
    const set = { user: 'alice@localhost', contact: 'bob@localhost', name: 'Bobby' };
    const { verdict, seq } = await request('roster-set', set);
    expect(verdict).toBe('allow');
    expect(seq).toBeGreaterThan(0);
    expect((await roster('alice@localhost')).name).toBe('Bobby');
    expect(await request('roster-set', { ...set, contact: 'eve@localhost' })).toMatchObject({ verdict: 'deny' });
  });

  it('tells it that an account is gone', async () => {
    expect(await request('user-removed', { user: 'alice@localhost' })).toMatchObject({ forgotten: true });
    expect(await postgres.psql('SELECT owner FROM contacts')).toBe('carol@kept.test');
  });
});
