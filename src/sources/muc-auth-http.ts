/**
 * Prosody's mod_muc_http_auth: may this user enter this room under this nick? GET with `userJID`, `mucJID` and
 * `nickname`; the answer is JSON `{"allowed": true}` or `{"allowed": false, "error": "why, for the log"}`.
 *
 * Stricter than the original, which reads any status, and any `allowed` that is not exactly false, as a yes.
 */
import { z } from 'zod';
import type { MucAuthHttpConfig } from '../config/sources.ts';
import { originOf } from '../config/uri-template.ts';
import { optional } from '../wire/fields.ts';
import { stanzaConditions } from '../wire/replies.ts';
import type { Decision } from '../wire/replies.ts';
import type { JoinCheck } from '../wire/requests.ts';
import { createHttpCaller } from './http-call.ts';
import { readJson } from './json-answer.ts';
import type { Question, Source, SourceContext } from './source.ts';
import { toXmlText } from './xml-text.ts';

const answer = z.object({ allowed: z.boolean(), error: optional(z.string()) });

/** What the protocol takes of a reason, in UTF-16 units; the rest is cut. */
const maxReasonLength = 1024;

/** @throws when `ca_file` cannot be read. */
export async function createMucAuthHttpSource(config: MucAuthHttpConfig, context: SourceContext): Promise<Source> {
  const http = await createHttpCaller(originOf(config.url), config, context);
  const base = config.url + (config.url.includes('?') ? '&' : '?');
  const enabledFor = config.enabled_for && new Set(config.enabled_for);
  const disabledFor = new Set(config.disabled_for);
  const { condition, type = stanzaConditions[condition] } = config.denied;

  const decisionOf = ({ allowed, error }: z.output<typeof answer>): Decision => {
    if (error === undefined) return allowed ? { verdict: 'allow' } : { verdict: 'deny', error: { type, condition } };
    const reason = toXmlText(error, maxReasonLength);
    if (allowed) return { verdict: 'allow', reason };
    const shown = config.show_error ? { type, condition, text: reason } : { type, condition };
    return { verdict: 'deny', error: shown, reason };
  };

  return {
    name: context.name,
    type: config.type,
    lagMs: config.lag_ms,
    unchecked(question) {
      const { node } = joinOf(question).room;
      if (enabledFor !== undefined && !enabledFor.has(node)) return 'the room is not in enabled_for';
      return disabledFor.has(node) ? 'the room is in disabled_for' : undefined;
    },
    identity: (question) => queryOf(joinOf(question)),
    async decide(question, call) {
      const url = base + queryOf(joinOf(question));
      const read = (body: Uint8Array) => decisionOf(readJson(answer, body));
      return {
        decision: await http.call({ method: 'GET', url, accept: 'application/json', read }, call),
        scope: 'exact',
      };
    },
    stop: () => http.stop(),
  };
}

function queryOf({ user, room, nick }: JoinCheck): string {
  return `userJID=${encoded(user.bare)}&mucJID=${encoded(room.bare)}&nickname=${encoded(nick)}`;
}

/** As the original encodes: all but the unreserved characters of RFC 3986 section 2.3. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function joinOf(question: Question): JoinCheck {
  if (question.operation !== 'join-check') throw new Error(`a muc-auth-http source was asked ${question.operation}`);
  return question.request;
}
