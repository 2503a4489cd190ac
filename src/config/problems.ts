/** What is wrong with a configuration, said so that it can be put right: where, what, and what would be right. */

import type { z } from 'zod';
import { similarTo } from './similar.ts';

/** The keys and indices from the root of the document down to a value. */
export type Path = readonly PropertyKey[];

export interface Problem {
  /** Where in the tree: `operations.join-check.ttl_ms`; empty for the whole document. */
  readonly path: string;
  /** What is wrong and what would be right, to be read after the path. */
  readonly message: string;
  readonly line?: number | undefined;
  /** The variable of the environment that the value comes from, where it does not come from the file. */
  readonly variable?: string | undefined;
}

/** A problem that still knows its path key by key, so that its line can be looked up. */
export interface PlacedProblem extends Problem {
  readonly keys: Path;
}

export function problemAt(keys: Path, message: string): PlacedProblem {
  return { keys, path: pathText(keys), message };
}

/** Begins the message of an issue about unknown keys; the known ones follow, with commas. */
export const knownKeys = 'Known: ';

/** The issues of a schema as problems. Of a union's branches the one counts that the value was meant for. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], under: Path = []): PlacedProblem[] {
  return issues.flatMap((issue): PlacedProblem[] => {
    const path = [...under, ...issue.path];
    if (issue.code === 'invalid_union') {
      const meant = issue.errors.filter((branch) => !branch.some(isOfAnotherType));
      if (meant.length === 1 && meant[0] !== undefined) return problemsOf(meant[0], path);
    }
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => problemAt([...path, key], unknownKey(key, issue.message)));
    }
    return [problemAt(path, issue.message)];
  });
}

function isOfAnotherType(issue: z.core.$ZodIssue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

function unknownKey(key: string, message: string): string {
  if (!message.startsWith(knownKeys)) return 'is unknown here';
  const meant = similarTo(key, message.slice(knownKeys.length).split(', '));
  return `is unknown here; ${meant === undefined ? '' : `did you mean ${meant}? `}${message}`;
}

/** Thrown with every problem at once. */
export class ConfigInvalid extends Error {
  override readonly name = 'ConfigInvalid';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    const inOrder = problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
    super(inOrder.map((problem) => formatProblem(file, problem)).join('\n'));
    this.file = file;
    this.problems = inOrder;
  }
}

/** `warder.yaml:12: log.level: …`, the form that editors jump to. */
export function formatProblem(file: string, { path, message, line, variable }: Problem): string {
  if (variable !== undefined) return `environment: ${variable}: ${message}`;
  const place = line === undefined ? file : `${file}:${line}`;
  return path === '' ? `${place}: ${message}` : `${place}: ${path}: ${message}`;
}

/** `a.b[0]."c.d"`: keys that hold a dot are quoted, so that a domain reads as one key. */
export function pathText(path: Path): string {
  return path
    .map((key, index) => {
      if (typeof key === 'number') return `[${key}]`;
      const text = String(key);
      return (index === 0 ? '' : '.') + (/[.\s]/.test(text) ? JSON.stringify(text) : text);
    })
    .join('');
}
