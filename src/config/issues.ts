/** A schema's issues in words: what was found, what is wanted, what was probably meant. */
import { z } from 'zod';
import { knownKeys, problemAt, problemsOf } from './problems.ts';
import type { PlacedProblem } from './problems.ts';
import { similarTo } from './similar.ts';

/** Validates, with issues in our words wherever the schema has none of its own. `secrets` are never repeated. */
export function validate<S extends z.ZodType>(
  schema: S,
  tree: unknown,
  secrets: ReadonlySet<string>,
): { data: z.output<S> } | { problems: PlacedProblem[] } {
  const parsed = schema.safeParse(tree, { error: (issue) => wordsFor(issue, secrets) });
  return parsed.success
    ? { data: parsed.data }
    : {
        problems: problemsOf(parsed.error.issues).map(({ keys, message }) => {
          const written = keys.filter((key, index) => key !== '*' || hasKeys(tree, keys.slice(0, index + 1)));
          return problemAt(written, message);
        }),
      };
}

/** A short form such as `sources: NAME` is validated as the whole map that it stands for; the file has no such key. */
function hasKeys(tree: unknown, path: readonly PropertyKey[]): boolean {
  let node = tree;
  for (const key of path) {
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) return false;
    node = (node as Record<PropertyKey, unknown>)[key];
  }
  return true;
}

/** Undefined leaves the schema library's own words. */
function wordsFor(issue: z.core.$ZodRawIssue, secrets: ReadonlySet<string>): string | undefined {
  const { input } = issue;
  const found = foundWords(input, secrets);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.inst instanceof z.ZodObject ? knownKeys + Object.keys(issue.inst.shape).join(', ') : undefined;
    case 'invalid_type': {
      const wanted = issue.inst instanceof z.ZodEnum ? choice(issue.inst.options) : typeWords(issue.expected);
      if (input === undefined) return `is missing; it must be ${wanted}`;
      const hint =
        issue.expected === 'boolean' && typeof input === 'string' && /^(yes|no|on|off)$/i.test(input)
          ? '; YAML 1.2 has only true and false'
          : '';
      return `must be ${wanted}, not ${found}${hint}`;
    }
    case 'invalid_value': {
      const meant = typeof input === 'string' ? similarTo(input, issue.values.map(String)) : undefined;
      const guess = meant === undefined ? '' : `; did you mean ${meant}?`;
      return input === undefined
        ? `is missing; it must be ${choice(issue.values)}`
        : `must be ${choice(issue.values)}, not ${found}${guess}`;
    }
    case 'too_small':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `must be at least ${issue.minimum}, not ${found}`
        : `must not be empty`;
    case 'too_big':
      return `must be at most ${issue.maximum}, not ${found}`;
    default:
      return undefined;
  }
}

function choice(values: readonly unknown[]): string {
  return values.length === 1 ? String(values[0]) : `one of ${values.join(', ')}`;
}

function typeWords(expected: string): string {
  switch (expected) {
    case 'string':
      return 'a text';
    case 'int':
      return 'a whole number';
    case 'number':
      return 'a number';
    case 'boolean':
      return 'true or false';
    case 'array':
      return 'a list';
    case 'object':
    case 'record':
      return 'a map';
    default:
      return expected;
  }
}

const maxQuoted = 60;

function foundWords(input: unknown, secrets: ReadonlySet<string>): string {
  if (input === null) return 'nothing';
  if (Array.isArray(input)) return 'a list';
  switch (typeof input) {
    case 'string':
      if (secrets.has(input)) return 'a text';
      // What is longer is no mistyped word, and in the answer of a source it may be what people write to each other.
      return input.length > maxQuoted ? `a text of ${input.length} characters` : `the text ${JSON.stringify(input)}`;
    case 'number':
    case 'boolean':
      return String(input);
    default:
      return 'a map';
  }
}
