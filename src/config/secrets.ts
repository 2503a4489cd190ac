/** `{env: NAME}` and `{file: PATH}` in place of any string, so that no secret stands in the configuration file. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { problemAt } from './problems.ts';
import type { Path, PlacedProblem } from './problems.ts';

export interface Resolved {
  readonly tree: unknown;
  /** What was filled in. Never to be printed. */
  readonly secrets: ReadonlySet<string>;
  /** The variables that the file names, found or not. */
  readonly variables: ReadonlySet<string>;
  readonly problems: readonly PlacedProblem[];
}

/**
 * The tree with every such map replaced by its string. A file's trailing line break is not part of the secret.
 * What cannot be had is a problem with its path, and an empty string in the tree.
 * @param folder what relative paths begin at
 */
export function resolveSecrets(tree: unknown, folder: string, env: NodeJS.ProcessEnv): Resolved {
  const secrets = new Set<string>();
  const variables = new Set<string>();
  const problems: PlacedProblem[] = [];

  const walk = (node: unknown, path: Path): unknown => {
    if (Array.isArray(node)) return node.map((item, index) => walk(item, [...path, index]));
    if (node === null || typeof node !== 'object') return node;
    const entries = Object.entries(node);
    const [only] = entries;
    if (entries.length === 1 && only !== undefined) {
      const [key, value] = only;
      if ((key === 'env' || key === 'file') && typeof value === 'string') {
        const secret = key === 'env' ? fromEnvironment(value, path) : fromFile(value, path);
        if (secret !== '') secrets.add(secret);
        return secret;
      }
    }
    return Object.fromEntries(entries.map(([key, value]) => [key, walk(value, [...path, key])]));
  };

  const fromEnvironment = (name: string, path: Path): string => {
    variables.add(name);
    const value = env[name];
    if (value === undefined) problems.push(problemAt(path, `the environment has no variable ${name}`));
    return value ?? '';
  };

  const fromFile = (file: string, path: Path): string => {
    try {
      return readFileSync(resolve(folder, file), 'utf8').replace(/\r?\n$/, '');
    } catch (error) {
      problems.push(
        problemAt(path, `the file cannot be read: ${error instanceof Error ? error.message : String(error)}`),
      );
      return '';
    }
  };

  return { tree: walk(tree, []), secrets, variables, problems };
}
