/**
 * Prosody's mod_http_roster_admin: whom does this user know? GET of a URL with the user name in it; the answer is a JSON
 * object of JID to `{name, subscription, ask, groups}`. The original ignores all but name and groups.
 */
import { parseTemplate } from 'url-template';
import { z } from 'zod';
import type { RosterHttpConfig } from '../config/sources.ts';
import { originOf } from '../config/uri-template.ts';
import { optional } from '../wire/fields.ts';
import type { Jid } from '../wire/jid.ts';
import { contactFields, rosterOf } from './contacts.ts';
import type { Contact } from './contacts.ts';
import { createHttpCaller } from './http-call.ts';
import { checked, readJsonObject } from './json-answer.ts';
import type { RosterAnswer, Source, SourceContext } from './source.ts';

/** Wrong types make the whole answer a bad one: it is then no roster, but perhaps an error that came with status 200. */
const contact = optional(z.object(contactFields));

/** What the original sends. */
const accept = 'application/json, text/plain, */*';

/** @throws when `ca_file` cannot be read. */
export async function createRosterHttpSource(config: RosterHttpConfig, context: SourceContext): Promise<Source> {
  const urlOf = urlsOf(config.url);
  const http = await createHttpCaller(originOf(config.url), config, context);
  const alsoAnswers = config.empty_on_404 ? [404] : [];
  return {
    name: context.name,
    type: config.type,
    lagMs: config.lag_ms,
    maxConcurrent: config.max_concurrent,
    roster(user, call) {
      const read = (body: Uint8Array, status: number) => (status === 404 ? rosterOf(user, []) : readRoster(user, body));
      return http.call({ method: 'GET', url: urlOf(user), accept, alsoAnswers, read }, call);
    },
    stop: () => http.stop(),
  };
}

function urlsOf(url: string): (user: Jid) => string {
  if (!url.includes('{')) return ({ node }) => url.replaceAll('%s', () => encodeURIComponent(node));
  const template = parseTemplate(url);
  return ({ node, domain, bare }) => template.expand({ user: node, host: domain, jid: bare });
}

/** The roster in a body. @throws SourceUnavailable */
export function readRoster(user: Jid, body: Uint8Array): RosterAnswer {
  // PHP writes an empty map as an empty list.
  if (/^\s*\[\s*\]\s*$/.test(Buffer.from(body).toString('latin1'))) return rosterOf(user, []);
  const contacts = Object.entries(readJsonObject(body));
  return rosterOf(
    user,
    contacts.map(([jid, value]): Contact => ({ jid, ...(isUsual(value) ? value : checked(contact, value, [jid])) })),
  );
}

/**
 * A contact as nearly all are, in plain code: the schema takes 10 µs for each, which is most of what a roster costs. What
 * this does not recognise is left to the schema, which says what is wrong.
 */
function isUsual(value: unknown): value is Omit<Contact, 'jid'> {
  if (typeof value !== 'object' || value === null || 'jid' in value) return false;
  const { name, subscription, ask, groups } = value as Record<string, unknown>;
  return (
    [name, subscription, ask].every((text) => text === undefined || typeof text === 'string') &&
    (groups === undefined || (Array.isArray(groups) && groups.every((group) => typeof group === 'string')))
  );
}
