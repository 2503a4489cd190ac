/** The replies of protocol v1. The decision fields are also what an `http` source answers, so its schema is here too. */
import { z } from 'zod';
import { failureKinds } from '../failures.ts';
import { optional, wholeNumber } from './fields.ts';

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

/** What a contact is called and where it stands, in place of what was asked for. */
const modifiedItem = z.object({
  name: optional(z.string().max(1023)),
  groups: z.array(z.string().max(1023)).max(1_000),
});

/** The verdict and what belongs to it: a decision, whoever made it. */
export const decision = z.object({
  verdict: z.enum(verdicts),
  error: optional(stanzaError).meta({ description: "for the asker's side; by its parts, or whole as `xml`" }),
  notify: optional(z.string().max(65_536)).meta({ description: 'XML for the recipient of the denied stanza' }),
  stanza: optional(z.string()).meta({ description: 'the replacement, on modify of a stanza' }),
  item: optional(modifiedItem).meta({ description: 'what is stored instead, on modify of a roster-set' }),
  reason: optional(z.string().max(1024)).meta({ description: 'for the log' }),
});

export type Decision = z.output<typeof decision>;

// Below: what workers send. The schemas are the source of the types and of the protocol's document; nothing is checked
// against them when a reply is encoded.

const replyEnvelope = z.object({
  v: z.literal(1),
  id: z.string().max(64).meta({ description: "the request's" }),
  seq: wholeNumber.meta({
    description: 'the sequence of changes that the answer knows; 0 where no stream numbers them',
  }),
  age_ms: z.number().min(0).meta({ description: 'how old the proof of that knowledge is; 1e9 when there is none' }),
});

/** What stands in every reply. */
export type ReplyEnvelope = z.output<typeof replyEnvelope>;

const failureKind = z.enum(failureKinds);

export const decisionReply = replyEnvelope.extend({
  ...decision.shape,
  ttl_ms: z.number().min(0).meta({ description: 'what remains of its life, counted from when the lookup began' }),
  scope: z.enum(scopes).meta({ description: 'for what an asker may remember it' }),
  degraded: optional(failureKind).meta({ description: 'set when this is a configured fallback and no real decision' }),
});

export type DecisionReply = z.output<typeof decisionReply>;

const rosterItem = z.object({
  jid: z.string().meta({ description: 'a bare JID in normal form' }),
  name: optional(z.string()),
  subscription: z.enum(['none', 'from', 'to', 'both']),
  ask: optional(z.enum(['subscribe'])),
  groups: z.array(z.string()),
});

export type RosterItem = z.output<typeof rosterItem>;

const roster = z.object({
  version: z.string().meta({ description: "a hash of the content; RFC 6121's `ver` and nothing else" }),
  items: z.array(rosterItem),
  pending: z
    .array(z.object({ jid: z.string(), text: optional(z.string()) }))
    .meta({ description: 'requests for subscription that wait for the user' }),
});

export type Roster = z.output<typeof roster>;

export const rosterReply = replyEnvelope.extend({
  status: z.enum(['ok', 'error']).meta({ description: "`error` when no user's roster could be had" }),
  message: z.string().meta({ description: 'for people' }),
  updated: wholeNumber.meta({ description: 'how many rosters were fetched from the source' }),
  errors: wholeNumber.meta({ description: 'how many users are in `failed`' }),
  rosters: z.record(z.string(), roster).meta({ description: 'by bare JID in normal form' }),
  failed: z
    .record(z.string(), z.string())
    .meta({ description: 'why not, by bare JID, or as given where it is none; `too-large`: ask for that user alone' }),
  again_ms: optional(wholeNumber).meta({
    description: 'the source reads from replicas, which may not have had the last change yet: ask again after so long',
  }),
});

export type RosterReply = z.output<typeof rosterReply>;

export const userRemovedReply = replyEnvelope.extend({ forgotten: z.boolean() });

export type UserRemovedReply = z.output<typeof userRemovedReply>;

export type Reply = DecisionReply | RosterReply | UserRemovedReply;

/** A kind that an asker does not know is a bad reply. */
export const failureReply = z.object({
  v: z.literal(1),
  id: z.string().max(64).meta({ description: "the request's; empty when it could not be read" }),
  failure: failureKind,
  text: z.string().meta({ description: 'fixed for each kind' }),
});

export type FailureReply = z.output<typeof failureReply>;
