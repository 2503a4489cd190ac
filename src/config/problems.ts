/** What is wrong with a configuration, said so that it can be put right: where, what, and what would be right. */
import type { z } from 'zod';

export interface Problem {
  /** Where in the tree: `operations.join-check.ttl_ms`; empty for the whole document. */
  readonly path: string;
  readonly message: string;
  readonly line?: number | undefined;
}

/** Thrown with every problem at once. */
export class ConfigInvalid extends Error {
  override readonly name = 'ConfigInvalid';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    super(problems.map((problem) => formatProblem(file, problem)).join('\n'));
    this.file = file;
    this.problems = problems;
  }
}

export function formatProblem(file: string, { path, message, line }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}`;
  return path === '' ? `${place}: ${message}` : `${place}: ${path}: ${message}`;
}

/** The issues of a schema as problems. A union's issues are those of its nearest branch, the one that got furthest. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], under: PropertyKey[] = []): Problem[] {
  return issues.flatMap((issue): Problem[] => {
    const path = [...under, ...issue.path];
    if (issue.code === 'invalid_union') {
      const deepest = issue.errors.filter((branch) => branch.some((inner) => inner.path.length > 0));
      if (deepest.length === 1 && deepest[0] !== undefined) return problemsOf(deepest[0], path);
    }
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: pathText([...path, key]), message: 'this key is unknown here' }));
    }
    return [{ path: pathText(path), message: issue.message }];
  });
}

/** `a.b[0]."c.d"`: keys that hold a dot are quoted, so that a domain reads as one key. */
export function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => {
      if (typeof key === 'number') return `[${key}]`;
      const text = String(key);
      return (index === 0 ? '' : '.') + (/[.\s]/.test(text) ? JSON.stringify(text) : text);
    })
    .join('');
}
