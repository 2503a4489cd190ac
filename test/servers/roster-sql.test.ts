import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { Call, Source, SourceOutcome } from '../../src/sources/source.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { conformsAsSource } from '../sources/conformance.ts';
import { make, patient } from '../sources/context.ts';
import type { Told } from '../sources/context.ts';
import { contactsQuery, startRosterDatabase } from './roster-database.ts';

const postgres = await startRosterDatabase();
afterAll(() => postgres.stop());

const alice = parseBareJid('alice@localhost');
const base = { type: 'roster-sql', url: postgres.url, query: contactsQuery };
const openConnections = async () =>
  Number(await postgres.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'warder'"));
/** A statement that goes on until it is ended, and how many of them there are: those of other tests may take their time. */
let sleeps = 0;
const sleep = () => `SELECT pg_sleep(3600), $1 AS jid, ${(sleeps += 1)} AS sleep`;
const sleeping = async () =>
  Number(
    await postgres.psql(
      `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%jid, ${sleeps} AS sleep%' AND pid <> pg_backend_pid()`,
    ),
  );
const patience = { timeout: 60_000, interval: 20 };

await postgres.psql(`INSERT INTO contacts VALUES
  ('alice@localhost', 'bob@localhost', 'Bob', 'both', '{Friends}'),
  ('alice@localhost', 'Carol@LOCALHOST', NULL, 'to', '{}')`);

conformsAsSource('roster-sql', {
  type: 'roster-sql',
  answers: {
    contacts: [
      { jid: 'bob@localhost', name: 'Bob', subscription: 'both', groups: ['Friends'] },
      { jid: 'carol@localhost', subscription: 'to', groups: [] },
    ],
    'nobody, of a user who is unknown': [],
  },
  async open(name) {
    const query = name === 'contacts' ? contactsQuery : contactsQuery.replace('$1', "'x' || $1");
    const { source } = await make({ ...base, query });
    return {
      source,
      released: () => vi.waitUntil(async () => (await openConnections()) === 0, patience).then(() => undefined),
      clear: async () => undefined,
    };
  },
  ask: async (source, call) => (await source.roster?.(alice, call))?.items,
});

describe('roster-sql', () => {
  let source: Source;
  let told: Told;
  const open = async (more: object = {}) => {
    ({ source, told } = await make({ ...base, ...more }));
  };
  const ask = async (call: Call = patient) => source.roster?.(alice, call);
  const failure = async (call: Call = patient): Promise<SourceUnavailable> => {
    try {
      await ask(call);
    } catch (error) {
      if (error instanceof SourceUnavailable) return error;
      throw error;
    }
    throw new Error('there was an answer');
  };
  const outcome = async (call: Call = patient): Promise<SourceOutcome | 'ok'> => {
    try {
      await ask(call);
      return 'ok';
    } catch (error) {
      if (error instanceof SourceUnavailable) return error.outcome;
      throw error;
    }
  };
  afterEach(async () => {
    vi.useRealTimers();
    await source.stop();
  });

  it('gives the query the bare JID and its parts in whatever order it wants them', async () => {
    await open({
      query: "SELECT $2 || '-' || $1 || '@x' AS jid, $3 AS name",
      parameters: ['user', 'host', 'jid'],
    });
    expect((await ask())?.items).toMatchObject([{ jid: 'localhost-alice@x', name: 'alice@localhost' }]);
  });

  it('takes a user name for what it is', async () => {
    await open({ query: "SELECT 'bob@localhost' AS jid, $1 AS name", parameters: ['user'] });
    const node = 'x;drop$1--%\\n{}';
    const roster = await source.roster?.(parseBareJid(`${node}@localhost`), patient);
    expect(roster?.items).toMatchObject([{ name: node }]);
  });

  it.each([
    ["SELECT 'bob@localhost' AS jid, ARRAY['A', NULL, 'A', ''] AS groups", { groups: ['A'] }],
    [`SELECT 'bob@localhost' AS jid, '["A", "B"]'::json AS groups`, { groups: ['A', 'B'] }],
    [`SELECT 'bob@localhost' AS jid, '{"A": true, "B": false}'::jsonb AS groups`, { groups: ['A'] }],
    ["SELECT 'bob@localhost' AS jid, ARRAY['A']::varchar[] AS groups, 7 AS other", { groups: ['A'] }],
    ["SELECT 'bob@localhost' AS jid", { subscription: 'both', groups: [] }],
    [
      "SELECT 'bob@localhost' AS jid, NULL AS name, NULL AS subscription, NULL AS ask, NULL AS groups",
      { subscription: 'both', groups: [] },
    ],
    [
      "SELECT 'bob@localhost' AS jid, 'none' AS subscription, 'subscribe' AS ask",
      { subscription: 'none', ask: 'subscribe' },
    ],
  ])('reads %s', async (select, expected) => {
    await open({ query: `${select} WHERE $1 <> ''` });
    expect(await ask()).toEqual({
      items: [{ jid: 'bob@localhost', groups: [], subscription: 'both', ...expected }],
      pending: [],
      problems: [],
    });
  });

  it.each([
    ["SELECT 'bob@localhost' AS contact, 'x' AS owner", 'query returns no column jid; it returns contact, owner'],
    ['SELECT 5 AS jid', 'jid must be a text, not 5'],
    ["SELECT 'bob@localhost' AS jid, 5 AS name", 'bob@localhost.name must be a text, not 5'],
    ["SELECT 'bob@localhost' AS jid, true AS subscription", 'subscription must be a text, not true'],
    ["SELECT 'bob@localhost' AS jid, 'A, B' AS groups", 'groups'],
    ["SELECT 'bob@localhost' AS jid, ARRAY[1] AS groups", 'groups[0] must be a text, not 1'],
    ['SELECT jid FROM contact', 'relation "contact" does not exist'],
  ])('takes no roster from %s', async (select, problem) => {
    await open({ query: `${select} WHERE $1 <> ''` });
    const { outcome: kind, message } = await failure();
    expect(kind).toBe('bad-answer');
    expect(message).toContain(problem);
    expect(told.outcomes).toEqual(['bad-answer']);
  });

  it('leaves out what is no contact, says so and keeps the rest', async () => {
    await open({
      query: `SELECT jid, subscription FROM (VALUES ('bob@localhost', 'both'), (NULL, 'both'), ('eve@localhost', 'remove'),
        ('alice@localhost', 'both'), ('no jid', 'both')) AS v (jid, subscription) WHERE $1 <> ''`,
    });
    const roster = await ask();
    expect(roster?.items.map(({ jid }) => jid)).toEqual(['bob@localhost']);
    expect(roster?.problems.map(({ jid }) => jid)).toEqual(['', 'eve@localhost', 'alice@localhost', 'no jid']);
  });

  it('reads the requests that wait for the user', async () => {
    const query = "SELECT 'eve@localhost' AS jid, 'It is me!' AS text WHERE $1 = 'alice'";
    await open({ pending: { query, parameters: ['user'] } });
    expect((await ask())?.pending).toEqual([{ jid: 'eve@localhost', text: 'It is me!' }]);
    await source.stop();
    await open({ pending: { query: query.replace('jid', 'sender') } });
    expect((await failure()).message).toContain('pending.query returns no column jid; it returns sender, text');
  });

  it('has statements end at the server, too', async () => {
    await open({ query: sleep(), timeout_ms: 100 });
    expect(await outcome()).toBe('timeout');
    await vi.waitUntil(async () => (await sleeping()) === 0, patience);
  });

  it('ends a call that nobody waits for, and does not blame the database', async () => {
    await open({
      query: `${sleep()} WHERE $1 LIKE 'alice%'`,
      breaker: { failures: 1 },
      timeout_ms: 5_000,
    });
    const waiting = new AbortController();
    const asked = outcome({ signal: waiting.signal });
    await vi.waitUntil(async () => (await sleeping()) > 0, patience);
    waiting.abort();
    expect(await asked).toBe('abandoned');
    expect(await outcome({ signal: AbortSignal.abort() })).toBe('abandoned');
    expect(await source.roster?.(parseBareJid('bob@localhost'), patient)).toMatchObject({ items: [] });
  });

  it('fails the calls under way and those that wait when it is stopped', async () => {
    await open({ query: sleep(), connections: 1 });
    const calls = [outcome(), outcome()];
    await vi.waitUntil(async () => (await sleeping()) === 1, patience);
    await source.stop();
    expect(await Promise.all(calls)).toEqual(['unreachable', 'unreachable']);
    expect(await outcome()).toBe('unreachable');
  });

  it('has no more calls under way than connections, and no more waiting than allowed', async () => {
    await open({ query: sleep(), connections: 1, max_queued: 1, timeout_ms: 60_000 });
    const held = new AbortController();
    const calls = [outcome({ signal: held.signal }), outcome({ signal: held.signal })];
    await vi.waitUntil(async () => (await sleeping()) === 1, patience);
    expect(await outcome()).toBe('bulkhead-full');
    expect(await sleeping()).toBe(1);
    held.abort();
    expect(await Promise.all(calls)).toEqual(['abandoned', 'abandoned']);
  });

  it('never says the password, whatever goes wrong', async () => {
    const secret = 'wr0ng-pass';
    const urls = [
      `postgres://warder:${secret}@127.0.0.1:${postgres.port}/postgres`,
      `postgres://warder:${secret}@127.0.0.1:${postgres.port}/nodatabase`,
      `postgres://nobody:${secret}@127.0.0.1:1/postgres`,
      `postgres://nobody:${secret}@nohost.invalid/postgres`,
    ];
    for (const url of urls) {
      await open({ url, listen: { channel: 'c' } });
      const error = await failure();
      expect(error.outcome).toBe('unreachable');
      expect(error.message).toMatch(/^(127\.0\.0\.1:\d+|nohost\.invalid)\/\w+: ./);
      await told.until(() => told.log.some((line) => line.includes('not listening')));
      expect(`${error.message} ${JSON.stringify(error)} ${told.log.join('')}`).not.toContain(secret);
      if (url !== urls.at(-1)) await source.stop();
    }
  });

  it('answers after the database was restarted, without one failure for the connections that broke', async () => {
    await open();
    await Promise.all(Array.from({ length: 8 }, () => ask()));
    await postgres.restart();
    expect((await ask())?.items).toHaveLength(2);
    await postgres.kill();
    await postgres.restart();
    expect((await ask())?.items).toHaveLength(2);
    expect(told.outcomes).toEqual(Array.from({ length: 10 }, () => 'ok'));
  });

  it('says so while the database is away, leaves it alone, and comes back', async () => {
    await open({ breaker: { failures: 2, half_open_after_ms: 5_000 } });
    await postgres.shutDown();
    expect([await outcome(), await outcome(), await outcome()]).toEqual(['unreachable', 'unreachable', 'breaker-open']);
    await postgres.restart();
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 5_001);
    expect(await outcome()).toBe('ok');
  });

  it('gives up on a database that stands still, on old connections and new, and comes back', async () => {
    await open({ timeout_ms: 300, connections: 1 });
    // A machine that is busy may need more than that for a connection.
    await vi.waitUntil(async () => (await outcome()) === 'ok', patience);
    await postgres.pause();
    expect([await outcome(), await outcome()]).toEqual(['timeout', 'timeout']);
    postgres.resume();
    await vi.waitUntil(async () => (await outcome()) === 'ok', patience);
  });
});
