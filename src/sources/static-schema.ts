/** The shape of a static policy file, and what is wrong with one: every problem at once, with line and path. */
import { LineCounter, isNode, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { z } from 'zod';
import { ConfigInvalid, problemsOf } from '../config/problems.ts';
import type { Problem } from '../config/problems.ts';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import { stanzaCondition, stanzaErrorTypes } from '../wire/replies.ts';
import { parsePattern } from './jid-pattern.ts';

/** Text to something else, where a problem with a JID is an issue on the field. */
function jidText<T>(parse: (text: string) => T, wanted: string) {
  return z.string(wanted).transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof InvalidJid)) throw error;
      context.issues.push({ code: 'custom', message: error.message, input: text });
      return z.NEVER;
    }
  });
}

const wantedPattern = 'must be user@domain, "*@domain" for everyone there, a domain for the server itself, or "*"';
const pattern = jidText(parsePattern, wantedPattern);
const patterns = z.union([pattern.transform((one) => [one]), z.array(pattern).min(1)], { error: wantedPattern });

/** What the denied user is told. */
const denial = {
  condition: stanzaCondition.optional(),
  type: z.enum(stanzaErrorTypes).optional(),
  text: z.string().max(1024).optional(),
};

export type Denial = { readonly [K in keyof typeof denial]?: z.output<(typeof denial)[K]> };

const verdict = z.enum(['allow', 'deny'], 'must be allow or deny');
const kinds = z.array(z.enum(['message', 'presence', 'iq'])).min(1);

const pair = { from: patterns.optional(), to: patterns.optional(), kinds: kinds.optional() };

function saysWhom(rule: { from?: unknown; to?: unknown }): boolean {
  return rule.from !== undefined || rule.to !== undefined;
}
const whom = { message: 'says neither from nor to; write from: "*" if everyone is meant' };

const stanzas = z.strictObject({
  default: verdict,
  deny: z
    .array(z.strictObject({ ...pair, silent: z.boolean().optional(), ...denial }).refine(saysWhom, whom))
    .default([]),
  allow: z.array(z.strictObject(pair).refine(saysWhom, whom)).default([]),
});

const room = z.strictObject({ allow: z.array(pattern).default(['*']), deny: z.array(pattern).default([]), ...denial });

const rooms = z.strictObject({ default: verdict, list: mapOf(room, pattern).default(new Map()) });

const sessions = z.strictObject({
  default: verdict,
  deny: z
    .array(
      z.union([
        pattern.transform((user): Denial & { user: string } => ({ user })),
        z.strictObject({ user: pattern, ...denial }),
      ]),
    )
    .default([]),
  allow: z.array(pattern).default([]),
});

const bareJid = jidText((text) => parseBareJid(text).bare, 'must be a JID such as bob@example.org');

const contact = z.strictObject({
  jid: bareJid,
  name: z.string().optional(),
  subscription: z.enum(['none', 'from', 'to', 'both']).optional(),
  ask: z.literal('subscribe').optional(),
  groups: z.array(z.string()).optional(),
});
const contacts = z.array(z.union([bareJid.transform((jid): z.output<typeof contact> => ({ jid })), contact]));

const policy = z.strictObject({
  stanzas: stanzas.optional(),
  rooms: rooms.optional(),
  sessions: sessions.optional(),
  rosters: mapOf(contacts, bareJid)
    .default(new Map())
    .check((context) => {
      for (const [user, list] of context.value) {
        for (const message of rosterProblems(user, list)) {
          context.issues.push({ code: 'custom', message, path: [user], input: list });
        }
      }
    }),
});

export type Policy = z.output<typeof policy>;

/** A map by JIDs: normalised, and each once. */
function mapOf<V extends z.ZodType, K extends z.ZodType<string, string>>(value: V, key: K) {
  return z.record(z.string(), value, 'must be a map of JIDs').transform((record, context) => {
    const map = new Map<string, z.output<V>>();
    for (const [text, item] of Object.entries(record)) {
      const parsed = key.safeParse(text);
      const problem = parsed.success
        ? map.has(parsed.data) && `is listed before, as ${parsed.data}`
        : parsed.error.issues.map(({ message }) => message).join('; ');
      if (parsed.success && problem === false) map.set(parsed.data, item as z.output<V>);
      else context.issues.push({ code: 'custom', message: String(problem), path: [text], input: text });
    }
    return map;
  });
}

function rosterProblems(user: string, list: z.output<typeof contacts>): string[] {
  const seen = new Set<string>();
  return list.flatMap(({ jid }) => {
    if (jid === user) return [`lists ${jid} as a contact of himself`];
    if (seen.has(jid)) return [`lists ${jid} twice`];
    seen.add(jid);
    return [];
  });
}

/**
 * The policy in a file's text.
 * @throws ConfigInvalid with every problem found.
 */
export function parsePolicy(text: string, file: string): Policy {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number) => lines.linePos(offset).line;
  if (document.errors.length > 0) {
    throw new ConfigInvalid(
      file,
      document.errors.map(({ message, pos }) => ({ path: '', message, line: lineAt(pos[0]) })),
    );
  }
  const tree: unknown = document.toJS({ maxAliasCount: 100 });
  if (tree === null || tree === undefined) {
    // What an editor that truncates before it writes leaves for a moment must not become a policy.
    throw new ConfigInvalid(file, [{ path: '', message: 'is empty; a policy that says nothing is written {}' }]);
  }
  const parsed = policy.safeParse(tree);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.flatMap((issue) =>
    problemsOf([issue]).map((problem) => withLine(problem, issue.path)),
  );
  throw new ConfigInvalid(file, problems);

  function withLine(problem: Problem, path: PropertyKey[]): Problem {
    const offset = offsetOf(document, path);
    return offset === undefined ? problem : { ...problem, line: lineAt(offset) };
  }
}

/** Where the nearest part of a path that the document has begins. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return undefined;
}
