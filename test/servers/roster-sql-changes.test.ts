import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RosterChange, Source } from '../../src/sources/source.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { contactChange, subscriptionChange } from '../questions.ts';
import { make, patient } from '../sources/context.ts';
import type { Told } from '../sources/context.ts';
import { contactsQuery, startRosterDatabase } from './roster-database.ts';

const postgres = await startRosterDatabase();
afterAll(() => postgres.stop());

const alice = parseBareJid('alice@localhost');
const statement = (text: string, ...parameters: string[]) => ({ statement: text, parameters });

describe('changes by clients, told to PostgreSQL', () => {
  let source: Source;
  let told: Told;
  const open = async (more: object) => {
    ({ source, told } = await make({ type: 'roster-sql', url: postgres.url, query: contactsQuery, ...more }));
  };
  const tell = (change: RosterChange) => source.rosterChange?.(change, patient);
  beforeEach(() =>
    postgres.psql(
      `DELETE FROM contacts; INSERT INTO contacts (owner, jid) VALUES ('alice@localhost', 'bob@localhost')`,
    ),
  );
  afterEach(() => source.stop());

  const update = statement(
    'UPDATE contacts SET name = $3, groups = $4 WHERE owner = $1 AND jid = $2',
    'jid',
    'contact',
    'name',
    'groups',
  );

  it('are allowed when a row was changed, which is then in the roster', async () => {
    await open({ set: update });
    const groups = ['A "quoted", one', 'Ünï\\{}', 'NULL'];
    expect(await tell(contactChange({ name: "Bob's", groups }))).toEqual({ verdict: 'allow' });
    expect((await source.roster?.(alice, patient))?.items).toMatchObject([{ name: "Bob's", groups }]);
    expect(await tell(contactChange({}))).toEqual({ verdict: 'allow' });
    expect((await source.roster?.(alice, patient))?.items).toEqual([
      { jid: 'bob@localhost', subscription: 'both', groups: [] },
    ]);
  });

  it('are refused when there was no row', async () => {
    await open({ set: update });
    expect(await tell(contactChange({ contact: 'eve@localhost' }))).toMatchObject({
      verdict: 'deny',
      error: { condition: 'item-not-found' },
    });
  });

  it('have a statement of their own for removals', async () => {
    const remove = statement('DELETE FROM contacts WHERE owner = $1 AND jid = $2', 'jid', 'contact');
    await open({ set: update, remove });
    expect(await tell(contactChange({ remove: true }))).toEqual({ verdict: 'allow' });
    expect(await source.roster?.(alice, patient)).toMatchObject({ items: [] });
  });

  it('are refused by a constraint and by RAISE EXCEPTION, with the message for the log', async () => {
    await open({ set: statement('INSERT INTO contacts (owner, jid) VALUES ($1, $2)', 'jid', 'contact') });
    expect(await tell(contactChange())).toMatchObject({
      verdict: 'deny',
      reason: expect.stringContaining('duplicate key'),
    });
    await postgres.psql(`CREATE FUNCTION refuse(who text) RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'not this week, %', who; END $$`);
    await source.stop();
    await open({ set: statement('SELECT refuse($1)', 'user') });
    expect(await tell(contactChange())).toEqual({ verdict: 'deny', reason: 'not this week, alice' });
    expect(told.outcomes).toEqual(['ok']);
  });

  it('are allowed by a function without a result, and by a procedure', async () => {
    await postgres.psql(`CREATE FUNCTION nod(who text) RETURNS void LANGUAGE sql AS 'SELECT 1';
      CREATE PROCEDURE accept(who text) LANGUAGE sql AS 'SELECT 1'`);
    await open({ set: statement('SELECT nod($1)', 'jid'), remove: statement('CALL accept($1)', 'jid') });
    expect(await tell(contactChange())).toEqual({ verdict: 'allow' });
    expect(await tell(contactChange({ remove: true }))).toEqual({ verdict: 'allow' });
  });

  it.each([
    ["'allow' AS verdict", { verdict: 'allow' }],
    [
      "'deny' AS verdict, 'why' AS reason, 'forbidden' AS condition, 'No.' AS text",
      { verdict: 'deny', reason: 'why', error: { condition: 'forbidden', text: 'No.' } },
    ],
    ["'deny' AS verdict, NULL AS reason, NULL AS condition, NULL AS text", { verdict: 'deny' }],
    [
      "'modify' AS verdict, 'Robert' AS name, ARRAY['Staff'] AS groups",
      { verdict: 'modify', item: { name: 'Robert', groups: ['Staff'] } },
    ],
  ])('are decided by a column verdict: %s', async (columns, decision) => {
    await open({ set: statement(`SELECT ${columns} WHERE $1 <> ''`, 'jid') });
    expect(await tell(contactChange())).toEqual(decision);
  });

  it.each([
    ["'maybe' AS verdict", 'verdict must be one of'],
    ['NULL AS verdict', 'verdict must be one of'],
    ["'deny' AS verdict, 'banned' AS condition", 'condition must be one of'],
    ["'modify' AS verdict", 'modify comes with no item'],
    ["unnest(ARRAY['allow', 'deny']) AS verdict", 'returns 2 verdicts'],
  ])('are a failure where the row is no decision: %s', async (columns, problem) => {
    await open({ set: statement(`SELECT ${columns} WHERE $1 <> ''`, 'jid') });
    await expect(tell(contactChange())).rejects.toThrow(problem);
    expect(told.outcomes).toEqual(['bad-answer']);
  });

  it('of subscriptions say all that is known of them', async () => {
    const parameters = ['jid', 'user', 'host', 'contact', 'direction', 'action', 'text', 'id'];
    const places = parameters.map((_, index) => `$${index + 1}::text`).join(', ');
    await open({
      subscription: statement(`SELECT 'deny' AS verdict, concat_ws('|', ${places}) AS reason`, ...parameters),
    });
    const change = subscriptionChange({ direction: 'in', action: 'subscribe', text: 'Hi' });
    expect((await tell(change))?.reason).toBe(
      `alice@localhost|alice|localhost|bob@localhost|in|subscribe|Hi|${change.request.id}`,
    );
  });

  it('are never told twice, even where the connection breaks', async () => {
    await postgres.psql(`CREATE SEQUENCE calls;
      CREATE FUNCTION cut(id text) RETURNS void LANGUAGE sql AS
      'SELECT nextval(''calls''); SELECT pg_terminate_backend(pg_backend_pid())'`);
    await open({ set: statement('SELECT cut($1)', 'id') });
    await expect(tell(contactChange())).rejects.toMatchObject({ outcome: 'unreachable' });
    expect(await postgres.psql('SELECT last_value FROM calls')).toBe('1');
  });

  it('go to the primary, while rosters are read where it is said', async () => {
    const primary_url = postgres.url.replace(/postgres$/, 'template1');
    await open({ primary_url, set: statement("SELECT 'deny' AS verdict, current_database() || $1 AS reason", 'jid') });
    expect((await tell(contactChange()))?.reason).toBe('template1alice@localhost');
    expect((await source.roster?.(alice, patient))?.items).toHaveLength(1);
  });

  it('that remove an account may find nothing to remove, and fail when the statement does', async () => {
    await open({ user_removed: statement('DELETE FROM contacts WHERE owner = $1', 'jid') });
    await source.userRemoved?.(alice, 'an-id', patient);
    expect(await source.roster?.(alice, patient)).toMatchObject({ items: [] });
    await source.userRemoved?.(alice, 'an-id', patient);
    await source.stop();
    await open({ user_removed: statement('DELETE FROM nothing WHERE owner = $1', 'jid') });
    await expect(source.userRemoved?.(alice, 'an-id', patient)).rejects.toBeInstanceOf(SourceUnavailable);
  });
});
