/** What a source in PostgreSQL can be told: where the database is, the operator's own statements, and what is listened to. */
import { z } from 'zod';
import type { Operation } from '../wire/operation.ts';
import { callOptions, connections } from './call-options.ts';
import { hostName } from './host-name.ts';

/** Never repeats what was written: there may be a password in it. */
const databaseUrl = z.string('must be a URL such as postgres://warder@db.example.org/chat').check((context) => {
  const message = databaseUrlProblem(context.value);
  if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value });
});

function databaseUrlProblem(text: string): string | undefined {
  if (!/^postgres(ql)?:\/\//.test(text)) return 'must begin with postgres:// or postgresql://';
  if (!URL.canParse(text)) {
    return 'is no URL; in user name and password, write @ as %40, : as %3A, / as %2F, # as %23, % as %25';
  }
  if (new URL(text).pathname.length < 2) return 'names no database: postgres://user@host/database';
  return undefined;
}

/** Whose roster it is: the bare JID, and its two parts. */
const owner = ['jid', 'user', 'host'] as const;

/** What a statement may be given, by what it is for. */
export const sqlParameters = {
  query: owner,
  set: [...owner, 'contact', 'name', 'groups', 'id'],
  remove: [...owner, 'contact', 'id'],
  subscription: [...owner, 'contact', 'direction', 'action', 'text', 'id'],
  user_removed: [...owner, 'id'],
} as const;

export type SqlParameter = (typeof sqlParameters)[keyof typeof sqlParameters][number];

function parameters<const Names extends readonly [SqlParameter, ...SqlParameter[]]>(names: Names) {
  return z.array(z.enum(names), `must be a list in the order of $1, $2, …, of ${names.join(', ')}`).min(1);
}

const sql = z.string('must be an SQL statement with $1, $2, … for its parameters').min(1);

/** That `parameters` are as many as the statement has places for; `statement` is the key that it stands under. */
function fits<K extends string>(statement: K) {
  return (context: z.core.ParsePayload<Record<K, string> & { parameters: readonly SqlParameter[] }>): void => {
    const { [statement]: text, parameters: given } = context.value;
    const message = placesProblem(text, given);
    if (message !== undefined)
      context.issues.push({ code: 'custom', message, path: ['parameters'], input: context.value });
  };
}

function placesProblem(text: string, given: readonly SqlParameter[]): string | undefined {
  // A dollar sign in a quoted text or name is none of a place.
  const bare = text.replaceAll(/'[^']*'|"[^"]*"/g, '');
  const places = new Set([...bare.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)));
  const missing = given.findIndex((_, index) => !places.has(index + 1));
  if (missing !== -1) return `has ${given[missing] ?? ''} for $${missing + 1}, which the statement does not have`;
  const highest = Math.max(...places);
  return highest > given.length ? `is too short: the statement has $${highest}` : undefined;
}

function question() {
  return z
    .strictObject({ query: sql, parameters: parameters(sqlParameters.query).default(['jid']) })
    .check(fits('query'));
}

function change<const Names extends readonly [SqlParameter, ...SqlParameter[]]>(names: Names) {
  return z.strictObject({ statement: sql, parameters: parameters(names) }).check(fits('statement'));
}

const listen = z.strictObject({
  channel: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, 'must be a name of letters, digits and _, at most 63 of them'),
  default_host: hostName.optional(),
});

export const rosterSql = z
  .strictObject({
    type: z.literal('roster-sql'),
    url: databaseUrl,
    primary_url: databaseUrl.optional(),
    ...question().shape,
    pending: question().optional(),
    set: change(sqlParameters.set).optional(),
    remove: change(sqlParameters.remove).optional(),
    subscription: change(sqlParameters.subscription).optional(),
    user_removed: change(sqlParameters.user_removed).optional(),
    listen: listen.optional(),
    ...callOptions,
    // A connection is a process of the database, which takes a hundred by default.
    connections: connections(8),
  })
  .check(fits('query'));

export type RosterSqlConfig = z.output<typeof rosterSql>;
export type SqlQuestion = Pick<RosterSqlConfig, 'query' | 'parameters'>;
export type SqlChange = { readonly statement: string; readonly parameters: readonly SqlParameter[] };

/** The statements without which such a source cannot do what an operation asks of it. */
export const statementsOf: Partial<Record<Operation, readonly (keyof RosterSqlConfig)[]>> = {
  'roster-set': ['set', 'remove'],
  'roster-subscription': ['subscription'],
  'user-removed': ['user_removed'],
};
