/** The replies of protocol v1. The decision fields are also what an `http` source answers, so its schema is here too. */
import { z } from 'zod';
import type { FailureKind } from '../failures.ts';
import { failureKinds } from '../failures.ts';
import { optional } from './fields.ts';

export const verdicts = ['allow', 'deny', 'drop', 'modify', 'defer'] as const;
export type Verdict = (typeof verdicts)[number];

/** For what an asker may remember a decision. An unknown word means `none`: remembering less is always right. */
export const scopes = ['pair', 'pair-full', 'sender', 'room', 'none'] as const;
export type Scope = (typeof scopes)[number];

export const stanzaErrorTypes = ['auth', 'cancel', 'continue', 'modify', 'wait'] as const;
export type StanzaErrorType = (typeof stanzaErrorTypes)[number];

/** The defined conditions (RFC 6120 section 8.3.3), each with the type that goes with it where none is named. */
export const stanzaConditions = {
  'bad-request': 'modify',
  conflict: 'cancel',
  'feature-not-implemented': 'cancel',
  forbidden: 'auth',
  gone: 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  redirect: 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'cancel',
  'unexpected-request': 'wait',
} as const satisfies Record<string, StanzaErrorType>;
export type StanzaCondition = keyof typeof stanzaConditions;
export const stanzaCondition = z.enum(Object.keys(stanzaConditions) as [StanzaCondition, ...StanzaCondition[]]);

/** A stanza error for the asker's side (RFC 6120 section 8.3), by its parts or whole. */
export const stanzaError = z.object({
  type: optional(z.enum(stanzaErrorTypes)),
  condition: optional(stanzaCondition),
  text: optional(z.string().max(4096)),
  xml: optional(z.string().max(16_384)),
});

export type StanzaError = z.output<typeof stanzaError>;

/** The verdict and what belongs to it: a decision, whoever made it. */
export const decision = z.object({
  verdict: z.enum(verdicts),
  error: optional(stanzaError),
  notify: optional(z.string().max(65_536)).meta({ description: 'XML for the recipient of the denied stanza' }),
  stanza: optional(z.string()).meta({ description: 'the replacement, on modify' }),
  reason: optional(z.string().max(1024)).meta({ description: 'for the log' }),
});

export interface Decision {
  verdict: Verdict;
  error?: Partial<StanzaError> | undefined;
  notify?: string | undefined;
  stanza?: string | undefined;
  reason?: string | undefined;
}

/** What stands in every reply. */
export interface ReplyEnvelope {
  v: 1;
  id: string;
  seq: number;
  age_ms: number;
}

export interface DecisionReply extends ReplyEnvelope, Decision {
  ttl_ms: number;
  scope: Scope;
  /** Set when this is a configured fallback and no real decision. */
  degraded?: FailureKind | undefined;
}

export interface RosterItem {
  jid: string;
  name?: string | undefined;
  subscription: 'none' | 'from' | 'to' | 'both';
  ask?: 'subscribe' | undefined;
  groups: string[];
}

export interface Roster {
  /** A hash of the content; RFC 6121's `ver` and nothing else. */
  version: string;
  items: RosterItem[];
  pending: { jid: string; text?: string | undefined }[];
}

export interface RosterReply extends ReplyEnvelope {
  status: 'ok' | 'error';
  message: string;
  updated: number;
  errors: number;
  rosters: Record<string, Roster>;
  failed: Record<string, string>;
}

export interface UserRemovedReply extends ReplyEnvelope {
  forgotten: boolean;
}

export interface FailureReply {
  v: 1;
  id: string;
  failure: FailureKind;
  text: string;
}

export type Reply = DecisionReply | RosterReply | UserRemovedReply;

/** The failure reply as an asker reads it; a kind it does not know is a bad reply. */
export const failureReply = z.object({
  v: z.literal(1),
  id: z.string(),
  failure: z.enum(failureKinds),
  text: z.string(),
});
