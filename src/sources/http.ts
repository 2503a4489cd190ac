/**
 * Any operation, asked of one's own service: POST the request as JSON, the answer is the verdict fields of the protocol
 * with `ttl_ms` and `scope`, or the roster. For an account that is gone any 2xx will do.
 */
import { z } from 'zod';
import type { HttpConfig } from '../config/sources.ts';
import { originOf } from '../config/uri-template.ts';
import { optional } from '../wire/fields.ts';
import { decision, scopes } from '../wire/replies.ts';
import type { Scope } from '../wire/replies.ts';
import { contactFields, rosterOf } from './contacts.ts';
import { trustedDecision } from './decision-xml.ts';
import { createHttpCaller } from './http-call.ts';
import { readJson } from './json-answer.ts';
import { rosterDecision } from './roster-decision.ts';
import type { Answer, Question, RosterChange, Source, SourceContext } from './source.ts';

/** An unknown scope is `none`: remembering less is always right. */
const scopeField = optional(z.string()).transform((word): Scope => scopes.find((known) => known === word) ?? 'none');

const answer = decision
  .omit({ item: true })
  .extend({ ttl_ms: optional(z.number().min(0).max(Number.MAX_SAFE_INTEGER)), scope: scopeField });

const changeAnswer = decision.pick({ verdict: true, error: true, reason: true }).extend({
  item: optional(z.object({ name: optional(z.string().max(1023)), groups: contactFields.groups })),
});

const roster = z.object({
  items: z.array(z.object({ jid: z.string(), ...contactFields })),
  pending: optional(z.array(z.object({ jid: z.string(), text: optional(z.string()) }))),
});

/** @throws when `ca_file` cannot be read. */
export async function createHttpSource(config: HttpConfig, context: SourceContext): Promise<Source> {
  const http = await createHttpCaller(originOf(config.url), config, context);
  const post = { method: 'POST', url: config.url, accept: 'application/json' } as const;
  return {
    name: context.name,
    type: config.type,
    lagMs: config.lag_ms,
    maxConcurrent: config.max_concurrent,
    needsStanza: ({ operation, request }) =>
      config.needs_stanza && operation === 'stanza-check' && request.stanza === undefined && !request.stanza_omitted,
    identity: (question) => JSON.stringify(fieldsOf(question, config.send_stanza)),
    decide(question, call) {
      const { id, server } = question.request;
      const json = { ...fieldsOf(question, config.send_stanza), id, server };
      const read = (body: Uint8Array) => readDecision(body, question);
      return http.call({ ...post, json, read }, call);
    },
    roster(user, call) {
      const json = { operation: 'roster-refresh', user: user.bare };
      const read = (body: Uint8Array) => {
        const { items, pending } = readJson(roster, body);
        return rosterOf(user, items, pending);
      };
      return http.call({ ...post, json, read }, call);
    },
    rosterChange(change, call) {
      const { id, server } = change.request;
      const json = { ...changeFieldsOf(change), id, server };
      const read = (body: Uint8Array) => rosterDecision(readJson(changeAnswer, body), change);
      return http.call({ ...post, json, once: true, read }, call);
    },
    userRemoved(user, id, call) {
      const json = { operation: 'user-removed', user: user.bare, id };
      return http.call({ ...post, json, once: true, read: () => undefined }, call);
    },
    stop: () => http.stop(),
  };
}

/** What the answer may depend on; `id` and `server` are for the log of who is asked. */
function fieldsOf({ operation, request }: Question, sendStanza: boolean): Record<string, unknown> {
  switch (operation) {
    case 'stanza-check': {
      const { hook, from, to, kind, type, stanza, stanza_omitted } = request;
      const envelope = { operation, hook, from: from.full, to: to.full, kind, type };
      return sendStanza ? { ...envelope, stanza, stanza_omitted } : envelope;
    }
    case 'join-check': {
      const { user, room, nick, event, creating } = request;
      return { operation, user: user.full, room: room.bare, nick, event, creating };
    }
    case 'session-check': {
      const { user, ip, tls, mechanism } = request;
      return { operation, user: user.full, ip, tls, mechanism };
    }
  }
}

function changeFieldsOf({ operation, request }: RosterChange): Record<string, unknown> {
  const whose = { operation, user: request.user.bare, contact: request.contact.bare };
  if (operation === 'roster-subscription') {
    const { direction, action, text } = request;
    return { ...whose, direction, action, text };
  }
  const { name, groups, remove } = request;
  return { ...whose, name, groups, remove };
}

/**
 * The decision in a body. A replaced stanza is the answer to that one stanza and to no other, whatever the scope says.
 * @throws SourceUnavailable with `bad-answer`
 */
export function readDecision(body: Uint8Array, question: Question): Answer {
  const { ttl_ms: ttlMs, scope, ...rest } = readJson(answer, body);
  const decided = trustedDecision(rest, question);
  return { decision: decided, ttlMs, scope: decided.verdict === 'modify' ? 'none' : scope };
}
