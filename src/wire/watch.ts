/**
 * What is said between who watches decisions and the workers that make them. What people write to each other (stanzas, the
 * texts of subscription requests) is never part of it.
 */
import { z } from 'zod';
import { Failure, failureKinds } from '../failures.ts';
import { jidText, optional, wholeNumber } from './fields.ts';
import { InvalidJid, parseBareJid, parseJid } from './jid.ts';
import type { Jid } from './jid.ts';
import { operationNames } from './operation.ts';
import { failureReply, verdicts } from './replies.ts';

/** What became of a request: a verdict, or for what has none whether it went well. */
export const outcomes = [...verdicts, 'ok', 'errors', 'failed'] as const;
export type Outcome = (typeof outcomes)[number];

/** All that is given has to fit; of a list, one word. */
export const watchFilter = z.object({
  jid: optional(jidText('on any side; bare: with every resource, a domain: everybody of it')),
  room: optional(jidText('a bare JID: joins, and what is sent to it or comes from it')),
  verdict: optional(z.array(z.enum(outcomes)).max(outcomes.length)),
  operation: optional(z.array(z.enum(operationNames)).max(operationNames.length)),
  degraded: optional(z.boolean()).meta({
    description: 'true: only configured fallbacks, and what was not proved fresh',
  }),
});

/** Said every five seconds or so by who watches. */
export const watchRequest = z.object({
  v: z.literal(1),
  id: z.string().min(1).max(64).meta({ description: 'of who watches; random' }),
  filter: optional(watchFilter),
});

export const watchReply = z.object({ v: z.literal(1), worker: z.string().meta({ description: 'its boot id' }) });

export const watchFailure = failureReply.omit({ id: true });

const sender = {
  v: z.literal(1),
  worker: z.string().meta({ description: 'its boot id' }),
  at: wholeNumber.meta({ description: 'when, in milliseconds since 1970, by the clock of the worker' }),
};

/** One decision. */
export const watchedDecision = z.object({
  ...sender,
  for: z.array(z.string()).meta({ description: 'who watches for such decisions, by id' }),
  operation: z.enum(operationNames),
  request: optional(z.record(z.string(), z.unknown())).meta({
    description: 'its fields without stanza, text and groups, and at most 20 users; absent: it could not be read',
  }),
  verdict: z.enum(outcomes),
  failure: optional(z.enum(failureKinds)),
  source: optional(z.string()).meta({ description: 'the name of the source that answers for this domain' }),
  degraded: optional(z.string()),
  remembered: z.boolean().meta({ description: 'no source was asked' }),
  took_ms: z.number().min(0),
  reason: optional(z.string().max(1024)),
});

export type WatchedDecision = z.output<typeof watchedDecision>;

/** Said at the end of a second in which there were more decisions than a worker publishes. */
export const watchedDropped = z.object({
  ...sender,
  dropped: z.record(z.string(), wholeNumber).meta({ description: 'how many decisions were left out, by who watches' }),
});

export type WatchedDropped = z.output<typeof watchedDropped>;

/** A filter with its JIDs in normal form. */
export interface WatchFilter {
  readonly jid?: Jid | undefined;
  readonly room?: Jid | undefined;
  readonly verdict?: readonly Outcome[] | undefined;
  readonly operation?: readonly (typeof operationNames)[number][] | undefined;
  readonly degraded?: boolean | undefined;
}

/** @throws Failure `bad-request` */
export function readWatchRequest(payload: Record<string, unknown>): { id: string; filter: WatchFilter } {
  const parsed = watchRequest.safeParse(payload);
  if (!parsed.success) throw new Failure('bad-request', parsed.error.message);
  const { id, filter = {} } = parsed.data;
  try {
    return {
      id,
      filter: {
        ...filter,
        jid: filter.jid === undefined ? undefined : parseJid(filter.jid),
        room: filter.room === undefined ? undefined : parseBareJid(filter.room),
      },
    };
  } catch (error) {
    if (error instanceof InvalidJid) throw new Failure('bad-request', error.message);
    throw error;
  }
}
