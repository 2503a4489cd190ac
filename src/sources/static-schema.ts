/** The shape of a static policy file, and what is wrong with one: every problem at once, with line and path. */
import { z } from 'zod';
import { parseYaml } from '../config/document.ts';
import { validate } from '../config/issues.ts';
import { ConfigInvalid, problemAt } from '../config/problems.ts';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import { stanzaCondition, stanzaErrorTypes } from '../wire/replies.ts';
import { parsePattern } from './jid-pattern.ts';
import { isXmlText } from './xml-text.ts';

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
const patterns = z.preprocess((one) => (typeof one === 'string' ? [one] : one), z.array(pattern, wantedPattern).min(1));

const xmlText = z.string().refine(isXmlText, 'has characters that XML forbids');

/** What the denied user is told. */
const denial = {
  condition: stanzaCondition.optional(),
  type: z.enum(stanzaErrorTypes).optional(),
  text: xmlText.max(1024).optional(),
};

export type Denial = { readonly [K in keyof typeof denial]?: z.output<(typeof denial)[K]> };

/** A text where a map is wanted stands for the map of this one key. */
function orMap<T extends z.ZodType>(key: string, map: T) {
  return z.preprocess((given) => (typeof given === 'string' ? { [key]: given } : given), map);
}

/** Where every line of a list or map is commented out, YAML reads nothing. */
function orEmpty<T extends z.ZodType>(empty: () => unknown, list: T) {
  return z.preprocess((given) => given ?? empty(), list);
}

function listOf<T extends z.ZodType>(item: T) {
  return orEmpty(() => [], z.array(item));
}

const verdict = z.enum(['allow', 'deny']);
const kinds = z.array(z.enum(['message', 'presence', 'iq'])).min(1);

const pair = { from: patterns.optional(), to: patterns.optional(), kinds: kinds.optional() };

function saysWhom(rule: { from?: unknown; to?: unknown }): boolean {
  return rule.from !== undefined || rule.to !== undefined;
}
const whom = { message: 'says neither from nor to; write from: "*" if everyone is meant' };

const stanzas = z.strictObject({
  default: verdict,
  deny: listOf(z.strictObject({ ...pair, silent: z.boolean().optional(), ...denial }).refine(saysWhom, whom)),
  allow: listOf(z.strictObject(pair).refine(saysWhom, whom)),
});

const room = z.strictObject({ allow: z.array(pattern).default(['*']), deny: listOf(pattern), ...denial });

const rooms = z.strictObject({ default: verdict, list: mapOf(room, pattern) });

const sessions = z.strictObject({
  default: verdict,
  deny: listOf(orMap('user', z.strictObject({ user: pattern, ...denial }))),
  allow: listOf(pattern),
});

const bareJid = jidText((text) => parseBareJid(text).bare, 'must be a JID such as bob@example.org');

const contact = z.strictObject({
  jid: bareJid,
  name: xmlText.optional(),
  subscription: z.enum(['none', 'from', 'to', 'both']).optional(),
  ask: z.literal('subscribe').optional(),
  groups: z.array(xmlText).optional(),
});
const contacts = listOf(orMap('jid', contact));

const policy = z.strictObject({
  stanzas: stanzas.optional(),
  rooms: rooms.optional(),
  sessions: sessions.optional(),
  rosters: mapOf(contacts, bareJid).check((context) => {
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
  const written = orEmpty(() => ({}), z.record(z.string(), value, 'must be a map of JIDs'));
  return written.transform((record, context) => {
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

/** A file of such lines only is what an editor leaves that truncates before it writes: it must not become a policy. */
const blank = /^\s*(#.*|---)?$/;

const noSecrets: ReadonlySet<string> = new Set();

/**
 * The policy in a file's text.
 * @throws ConfigInvalid with every problem found.
 */
export function parsePolicy(text: string, file: string): Policy {
  if (text.split('\n').every((line) => blank.test(line))) {
    throw new ConfigInvalid(file, [problemAt([], 'is empty; a policy that says nothing is written {}')]);
  }
  const { tree, lineOf } = parseYaml(text, file, 'stanzas, rooms, sessions, rosters');
  const validated = validate(policy, tree, noSecrets);
  if ('data' in validated) return validated.data;
  const { problems } = validated;
  throw new ConfigInvalid(
    file,
    problems.map((problem) => ({ ...problem, line: lineOf(problem.keys) })),
  );
}
