/**
 * From rows to a roster, and to a decision. A query that returns something else than it should is a bad answer that
 * names the column; what is wrong with a single contact costs nobody else.
 */
import type { QueryResult } from 'pg';
import { z } from 'zod';
import { optional } from '../wire/fields.ts';
import type { Jid } from '../wire/jid.ts';
import { stanzaCondition, verdicts } from '../wire/replies.ts';
import type { Decision } from '../wire/replies.ts';
import { contactFields, rosterOf } from './contacts.ts';
import { checked } from './json-answer.ts';
import { rosterDecision } from './roster-decision.ts';
import { SourceUnavailable } from './source.ts';
import type { RosterAnswer, RosterChange } from './source.ts';

export type Rows = Pick<QueryResult<Record<string, unknown>>, 'rows' | 'fields' | 'rowCount'>;

/** The groups of a contact without any, as array_agg makes them of an outer join: `{NULL}`. */
const withoutNulls = (value: unknown): unknown => (Array.isArray(value) ? value.filter((one) => one !== null) : value);

const groups = z.preprocess(withoutNulls, contactFields.groups);

/** Without a JID it is no contact, which `rosterOf` says. */
const jid = z
  .string()
  .nullable()
  .transform((text) => text ?? '');

const contact = z.object({ ...contactFields, jid, groups });

const request = z.object({ jid, text: optional(z.string()) });

/** The roster that the rows of the query, and of the one for pending requests, hold. @throws SourceUnavailable */
export function rosterFrom(user: Jid, contacts: Rows, pending: Rows | undefined): RosterAnswer {
  const requests = pending === undefined ? [] : rowsOf(pending, request, 'pending.query');
  return rosterOf(user, rowsOf(contacts, contact, 'query'), requests);
}

function rowsOf<T extends z.ZodType>({ rows, fields }: Rows, schema: T, statement: string): z.output<T>[] {
  if (!fields.some(({ name }) => name === 'jid')) {
    const names = fields.map(({ name }) => name).join(', ') || 'none at all';
    throw new SourceUnavailable('bad-answer', `${statement} returns no column jid; it returns ${names}`);
  }
  return rows.map((row) => checked(schema, row, typeof row['jid'] === 'string' ? [row['jid']] : []));
}

const maxReasonLength = 1024;

/** A long explanation is no reason to refuse an answer. */
const reason = optional(z.string()).transform((text) => text?.slice(0, maxReasonLength));

const verdict = z.object({
  verdict: z.enum(verdicts),
  reason,
  condition: optional(stanzaCondition),
  text: optional(z.string().max(4096)),
  name: contactFields.name,
  groups,
});

/**
 * What a statement that was to change something says: by a row with a column `verdict`, else by how many rows it
 * returned or changed. A procedure counts none: that it has not failed is its consent.
 * @throws SourceUnavailable
 */
export function decisionFrom({ rows, fields, rowCount }: Rows, change: RosterChange): Decision {
  const hasVerdict = fields.some(({ name }) => name === 'verdict');
  if (rowCount === 0) {
    return {
      verdict: 'deny',
      error: { condition: 'item-not-found' },
      reason: 'the statement changed and returned no row',
    };
  }
  if (!hasVerdict) return { verdict: 'allow' };
  if (rows.length > 1) throw new SourceUnavailable('bad-answer', `the statement returns ${rows.length} verdicts`);
  const { condition, text, name, groups: among, ...rest } = checked(verdict, rows[0]);
  const error = condition === undefined && text === undefined ? undefined : { condition, text };
  return rosterDecision({ ...rest, error, item: { name, groups: among } }, change);
}

/**
 * The decision in an error of the database: what breaks a rule of its tables (class 23) or was raised on purpose is
 * refused. Undefined for all others.
 */
export function refusalFrom(code: string | undefined, message: string): Decision | undefined {
  if (code === undefined || !/^(23...|P0001)$/.test(code)) return undefined;
  return { verdict: 'deny', reason: message.slice(0, maxReasonLength) };
}
