import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSource } from '../../src/sources/registry.ts';
import type { Source } from '../../src/sources/source.ts';
import { configOf, testContext } from '../sources/context.ts';
import type { Told } from '../sources/context.ts';
import { contactsQuery, startRosterDatabase } from './roster-database.ts';

const postgres = await startRosterDatabase();
afterAll(() => postgres.stop());

const everybody = { operation: 'roster-refresh' };
const patience = { timeout: 60_000, interval: 10 };

describe('roster-sql that listens', () => {
  let source: Source;
  let told: Told;
  const open = async (more: object = {}, boundMs = 2_000) => {
    const context = testContext();
    const options = {
      type: 'roster-sql',
      url: postgres.url,
      query: contactsQuery,
      listen: { channel: 'warder_roster' },
    };
    source = await createSource(configOf({ ...options, ...more }), { ...context, boundMs, defaultHost: 'localhost' });
    told = context.told;
    await told.until(() => told.changes.length === 1);
    expect(told.changes.splice(0)).toEqual([everybody]);
  };
  /** What was said up to a change that is made now: everything before it has been heard by then. */
  const saidUntilNow = async () => {
    await postgres.psql("NOTIFY warder_roster, 'marker@localhost'");
    await told.until(() => told.changes.some((change) => 'user' in change && change.user === 'marker@localhost'));
    return told.changes.splice(0).slice(0, -1);
  };
  beforeEach(() =>
    postgres.psql("DELETE FROM contacts; INSERT INTO contacts (owner, jid) VALUES ('alice@localhost', 'bob@x')"),
  );
  afterEach(() => source.stop());

  it.each([
    ["INSERT INTO contacts (owner, jid) VALUES ('carol@localhost', 'bob@x')", ['carol@localhost']],
    ["UPDATE contacts SET name = 'Bob' WHERE owner = 'alice@localhost'", ['alice@localhost']],
    ["UPDATE contacts SET owner = 'dave@localhost'", ['alice@localhost', 'dave@localhost']],
    ["DELETE FROM contacts WHERE owner = 'alice@localhost'", ['alice@localhost']],
    ["INSERT INTO contacts (owner, jid) VALUES ('Erin', 'a@x'), ('Erin', 'b@x'), ('Erin', 'c@x')", ['erin@localhost']],
    ["BEGIN; UPDATE contacts SET name = 'Robert'; ROLLBACK", []],
    ["UPDATE contacts SET name = 'Bob' WHERE owner = 'nobody'", []],
    ["NOTIFY warder_roster, 'a@x b@x\n c'", ['a@x', 'b@x', 'c@localhost']],
    ["NOTIFY another, 'a@x'", []],
  ])('says whose rosters change by %s', async (sql, users) => {
    await open();
    await postgres.psql(sql);
    expect(await saidUntilNow()).toEqual(users.map((user) => ({ user })));
  });

  it.each([
    'TRUNCATE contacts',
    'NOTIFY warder_roster',
    "NOTIFY warder_roster, 'a@x @'",
    "NOTIFY warder_roster, 'a@b@c/d'",
  ])('takes %s for a change of all rosters, and goes on', async (sql) => {
    await open();
    await postgres.psql(sql);
    await told.until(() => told.changes.length > 0);
    expect(told.changes.splice(0)).toEqual([everybody]);
    expect(told.log.join('')).toContain('names no user');
    expect(await saidUntilNow()).toEqual([]);
  });

  it('is not deaf while it listens, without anything happening', async () => {
    await open({}, 300);
    const heardAtMs = performance.now();
    await vi.waitUntil(() => performance.now() - heardAtMs > 1_000, patience);
    await vi.waitUntil(() => source.isDeaf?.() === false, patience);
    expect(told.changes).toEqual([]);
  });

  it('is never deaf where it is not told to listen', async () => {
    await open();
    expect(source.isDeaf?.()).toBe(false);
    const other = await createSource(
      configOf({ type: 'roster-sql', url: 'postgres://nobody@127.0.0.1:1/none', query: contactsQuery }),
      testContext(),
    );
    expect(other.isDeaf?.()).toBeUndefined();
    await other.stop();
  });

  it('is deaf while the database is away, and afterwards every roster has changed before it is not', async () => {
    await open({ timeout_ms: 1_000 }, 400);
    expect(source.isDeaf?.()).toBe(false);
    await postgres.shutDown();
    await vi.waitUntil(() => source.isDeaf?.() === true, patience);
    await postgres.restart();
    await postgres.psql("UPDATE contacts SET name = 'Robert'");
    await told.until(() => told.changes.length > 0);
    expect(told.changes[0]).toEqual(everybody);
    await vi.waitUntil(() => source.isDeaf?.() === false, patience);
    await saidUntilNow();
    await postgres.psql("UPDATE contacts SET name = 'Bob'");
    expect(await saidUntilNow()).toEqual([{ user: 'alice@localhost' }]);
  });

  it('hears again when its connection is cut, any number of times', async () => {
    await open({}, 400);
    for (let round = 0; round < 3; round += 1) {
      await postgres.psql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^(LISTEN|SELECT 1)'
        AND application_name = 'warder'`);
      await told.until(() => told.changes.length > 0);
      expect(told.changes.splice(0)).toEqual([everybody]);
    }
    await postgres.psql("UPDATE contacts SET name = 'Bob'");
    expect(await saidUntilNow()).toEqual([{ user: 'alice@localhost' }]);
  });

  it('is deaf while the database stands still, and hears what was announced meanwhile', async () => {
    await open({ timeout_ms: 60_000 }, 400);
    await postgres.pause();
    await vi.waitUntil(() => source.isDeaf?.() === true, patience);
    // The connection has held: nothing was missed, so nobody else's roster is doubted.
    const asked = postgres.psql("UPDATE contacts SET name = 'Bob'");
    postgres.resume();
    await asked;
    expect(await saidUntilNow()).toEqual([{ user: 'alice@localhost' }]);
    await vi.waitUntil(() => source.isDeaf?.() === false, patience);
  });

  it('gives up a connection on which nothing answers, and listens on another', async () => {
    await open({ timeout_ms: 500 }, 500);
    await postgres.pause();
    await vi.waitUntil(() => source.isDeaf?.() === true, patience);
    await told.until(() => told.log.some((line) => line.includes('no answer within 500 ms')));
    postgres.resume();
    await told.until(() => told.changes.length > 0);
    expect(told.changes[0]).toEqual(everybody);
    await vi.waitUntil(() => source.isDeaf?.() === false, patience);
  });

  it('stops at once beside a database that stands still', async () => {
    await open({ timeout_ms: 60_000 });
    await postgres.pause();
    await source.stop();
    postgres.resume();
    expect(await postgres.psql('SELECT 1')).toBe('1');
  });
});
