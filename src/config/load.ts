/** From a YAML file and the environment to one validated, frozen value; or every problem at once, each with its place. */
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { checkReferences } from './references.ts';
import { ConfigInvalid, problemsOf } from './problems.ts';
import type { Problem } from './problems.ts';
import { configSchema } from './schema.ts';
import type { Config } from './schema.ts';
import { resolveSecrets } from './secrets.ts';

/** The environment's variables that override the file, and where each goes. Any other `WARDER_*` is a mistake. */
const overrides = {
  WARDER_NATS_URL: { path: ['nats', 'url'], value: (text: string) => text.split(',').map((url) => url.trim()) },
  WARDER_HTTP_LISTEN: { path: ['http', 'listen'], value: (text: string) => text },
  WARDER_SUBJECT_PREFIX: { path: ['nats', 'subject_prefix'], value: (text: string) => text },
  WARDER_LOG_LEVEL: { path: ['log', 'level'], value: (text: string) => text },
} as const;

/** Read by the command line and not by the configuration. */
const otherVariables = new Set(['WARDER_CONFIG']);

/**
 * Reads and validates a configuration file.
 * @throws ConfigInvalid with every problem found.
 */
export function loadConfig(file: string, env: NodeJS.ProcessEnv): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigInvalid(file, [{ path: '', message: `cannot be read: ${String(error)}` }]);
  }
  return parseConfig(text, file, env);
}

/**
 * The same from a text; `file` is for the messages.
 * @throws ConfigInvalid with every problem found.
 */
export function parseConfig(text: string, file: string, env: NodeJS.ProcessEnv): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new ConfigInvalid(
      file,
      document.errors.map((error) => ({ path: '', message: error.message, line: lines.linePos(error.pos[0]).line })),
    );
  }
  const tree: unknown = document.toJS() ?? {};
  if (typeof tree !== 'object' || Array.isArray(tree)) {
    throw new ConfigInvalid(file, [{ path: '', message: 'must be a map of nats, http, log, operations, sources, …' }]);
  }
  const problems: Problem[] = unknownVariables(env);
  const resolved = resolveSecrets(tree, env, problems) as Record<string, unknown>;
  applyEnvironment(resolved, env);
  const parsed = configSchema.safeParse(resolved);
  if (!parsed.success) problems.push(...problemsOf(parsed.error.issues));
  else problems.push(...checkReferences(parsed.data));
  if (problems.length > 0 || !parsed.success) {
    throw new ConfigInvalid(
      file,
      problems.map((problem) => ({ ...problem, line: problem.line ?? lineOf(document, lines, problem.path) })),
    );
  }
  return deepFreeze(parsed.data);
}

function unknownVariables(env: NodeJS.ProcessEnv): Problem[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('WARDER_') && !(name in overrides) && !otherVariables.has(name))
    .map((name) => ({
      path: name,
      message: `is no variable of Warder; there are ${Object.keys(overrides).join(', ')} and WARDER_CONFIG`,
    }));
}

function applyEnvironment(tree: Record<string, unknown>, env: NodeJS.ProcessEnv): void {
  for (const [name, { path, value }] of Object.entries(overrides)) {
    const text = env[name];
    if (text === undefined || text === '') continue;
    const [section, key] = path;
    const current = tree[section];
    const map = typeof current === 'object' && current !== null ? current : {};
    tree[section] = { ...map, [key]: value(text) };
  }
}

/** The line of the nearest part of a path that the document has. */
function lineOf(document: Document, lines: LineCounter, path: string): number | undefined {
  const keys = splitPath(path);
  for (let length = keys.length; length > 0; length -= 1) {
    const node = document.getIn(keys.slice(0, length), true);
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
    if (Array.isArray(range)) return lines.linePos(Number(range[0])).line;
  }
  return undefined;
}

/** Undoes `pathText`. */
function splitPath(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|"((?:[^"\\]|\\.)*)"|([^.[\]"]+)/g)].map((match) => {
    if (match[1] !== undefined) return Number(match[1]);
    if (match[2] !== undefined) return String(JSON.parse(`"${match[2]}"`));
    return match[3] ?? '';
  });
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
