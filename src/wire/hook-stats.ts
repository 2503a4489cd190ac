/**
 * What hooks report of themselves, since a worker cannot see it: questions that nobody answered, what they decided
 * without asking. Every word that becomes a label is one of a closed set; another counts as `other`.
 */
import { z } from 'zod';
import { optional, wholeNumber } from './fields.ts';
import { operationNames } from './operation.ts';
import { verdicts } from './replies.ts';

export const hookKinds = ['prosody', 'ejabberd'] as const;
export const hookFailures = [
  'no-responders',
  'timeout',
  'disconnected',
  'bad-reply',
  'bad-request',
  'too-large',
  'expired',
  'overloaded',
  'stanza-required',
  'source-unavailable',
  'internal',
  'not-async',
  'crashed',
] as const;
export const hookFallbacks = [...verdicts, 'last-known', 'error'] as const;
export const other = 'other';

/** More words than there are; a bound all the same. */
const maxWords = 32;
const counts = z
  .record(z.string().max(64), wholeNumber)
  .refine((record) => Object.keys(record).length <= maxWords, `at most ${maxWords} words`);

const operationCounts = z.object({
  verdicts: optional(counts).meta({ description: 'answers of workers, by verdict' }),
  remembered: optional(counts).meta({ description: 'answers from the near cache, by verdict' }),
  failures: optional(counts).meta({ description: 'questions without an answer, by kind' }),
  fallbacks: optional(counts).meta({ description: 'what was done instead' }),
});

const nearCache = z.object({
  hits: optional(wholeNumber),
  misses: optional(wholeNumber),
  evictions: optional(wholeNumber),
  unproved: optional(wholeNumber).meta({ description: 'remembered, and not served for want of a recent proof' }),
  gaps: optional(wholeNumber),
  clears: optional(wholeNumber),
});

const gauge = z.number().min(0);

/** As of now, not since the last report. */
export const hookGauges = z.object({
  near_cache_entries: optional(gauge),
  near_cache_max: optional(gauge),
  pending: optional(gauge).meta({ description: 'questions that wait for an answer' }),
  rosters_online: optional(gauge),
  rosters_due: optional(gauge),
  connected_s: optional(gauge).meta({ description: 'how long its connection to NATS stands' }),
});

const node = {
  v: z.literal(1),
  boot_id: z.string().min(1).max(64),
  name: z.string().min(1).max(256).meta({ description: 'the node, as in ctl.seen' }),
  kind: z
    .string()
    .max(64)
    .meta({ description: hookKinds.join(', ') }),
  version: z.string().max(64),
  number: z
    .number()
    .int()
    .min(1)
    .max(Number.MAX_SAFE_INTEGER)
    .meta({ description: '1, 2, 3 … since its start; the same again while it is not acknowledged' }),
  gauges: optional(hookGauges),
};

/** What was counted since the last report that was acknowledged. */
export const hookReport = z.object({
  ...node,
  operations: z.record(z.string().max(64), operationCounts).refine((one) => Object.keys(one).length <= maxWords),
  near_cache: optional(nearCache),
});

export type HookReport = z.output<typeof hookReport>;

export const hookAcknowledgement = z.object({ v: z.literal(1), number: wholeNumber });

/** One worker to the others: that report is counted, or, with a claim, will be. */
export const hookCounted = z.object({
  ...node,
  claim: optional(z.string().min(1).max(64)).meta({
    description: 'not counted yet: of those who have got it too, who has the least of these counts it',
  }),
});

export type HookCounted = z.output<typeof hookCounted>;

/** The word itself where it is one of these, else `other`. */
export function knownWord<T extends string>(words: readonly T[], word: string): T | typeof other {
  return words.find((one) => one === word) ?? other;
}

/** As `knownWord`, for the operation of a report. */
export function knownOperation(word: string): (typeof operationNames)[number] | typeof other {
  return knownWord(operationNames, word);
}
