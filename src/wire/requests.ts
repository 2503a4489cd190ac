/** The requests of protocol v1: one schema an operation. What leaves here is valid, with JIDs in their normal form. */
import { z } from 'zod';
import { anyJid, bareJid, fullJid, optional, wholeNumber, withDefault } from './fields.ts';

/** What every request carries beside its question. */
const envelope = {
  v: z.literal(1),
  id: z.string().min(1).max(64).meta({ description: 'random, 96 bits or more; the reply repeats it' }),
  server: z.string().max(256).meta({ description: 'the name of the asking XMPP node' }),
  budget_ms: z.number().positive().max(600_000).meta({ description: 'how long the asker waits' }),
  min_seq: withDefault(wholeNumber, 0).meta({ description: 'the sequence that the answer must know; 0 if none' }),
  traceparent: optional(z.string().max(256)).meta({ description: 'W3C trace context' }),
};

/** The XML of a stanza. Its size is bounded by the whole payload's. */
const xml = z.string();

export const stanzaCheckRequest = z.object({
  ...envelope,
  hook: z.enum(['send', 'route', 'local', 'receive', 'offline']),
  from: anyJid,
  to: anyJid,
  kind: z.enum(['message', 'presence', 'iq']),
  type: withDefault(z.string().max(64), ''),
  stanza: optional(xml),
  stanza_omitted: withDefault(z.boolean(), false).meta({ description: 'the stanza exists but is too large to send' }),
});

export const joinCheckRequest = z.object({
  ...envelope,
  user: fullJid,
  room: bareJid,
  nick: z.string().max(1023),
  event: withDefault(z.enum(['join', 'nick-change', 'subscribe']), 'join'),
  creating: withDefault(z.boolean(), false).meta({ description: 'the room would be made by this join' }),
});

export const sessionCheckRequest = z.object({
  ...envelope,
  user: fullJid,
  ip: optional(z.string().max(64)),
  tls: optional(z.boolean()),
  mechanism: optional(z.string().max(64)),
});

/** JIDs are parsed one by one by the operation: one that is none must not cost the others their answer. */
export const rosterRefreshRequest = z.object({
  ...envelope,
  users: z.array(z.string().max(3072)).max(10_000),
  reason: withDefault(z.enum(['login', 'changed', 'admin']), 'login'),
});

export const userRemovedRequest = z.object({ ...envelope, user: bareJid });

export type StanzaCheck = z.output<typeof stanzaCheckRequest>;
export type JoinCheck = z.output<typeof joinCheckRequest>;
export type SessionCheck = z.output<typeof sessionCheckRequest>;
export type RosterRefresh = z.output<typeof rosterRefreshRequest>;
export type UserRemoved = z.output<typeof userRemovedRequest>;

/** What every request carries, whatever it asks. */
export type Envelope = Pick<UserRemoved, 'id' | 'server' | 'budget_ms' | 'min_seq' | 'traceparent'>;
