/** `{env: NAME}` and `{file: PATH}` in place of any string, so that no secret stands in the configuration file. */
import { readFileSync } from 'node:fs';
import { pathText } from './problems.ts';
import type { Problem } from './problems.ts';

/**
 * The tree with every such map replaced by its string. A file's trailing line break is not part of the secret.
 * What cannot be had is a problem with its path, and stays undefined.
 */
export function resolveSecrets(
  tree: unknown,
  env: NodeJS.ProcessEnv,
  problems: Problem[],
  path: PropertyKey[] = [],
): unknown {
  if (Array.isArray(tree)) return tree.map((item, index) => resolveSecrets(item, env, problems, [...path, index]));
  if (tree === null || typeof tree !== 'object') return tree;
  const entries = Object.entries(tree);
  const [only] = entries;
  if (entries.length === 1 && only !== undefined && typeof only[1] === 'string') {
    if (only[0] === 'env') return fromEnvironment(only[1], env, problems, path);
    if (only[0] === 'file') return fromFile(only[1], problems, path);
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, resolveSecrets(value, env, problems, [...path, key])]));
}

function fromEnvironment(name: string, env: NodeJS.ProcessEnv, problems: Problem[], path: PropertyKey[]) {
  const value = env[name];
  if (value === undefined) problems.push({ path: pathText(path), message: `the environment has no variable ${name}` });
  return value;
}

function fromFile(file: string, problems: Problem[], path: PropertyKey[]) {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    problems.push({ path: pathText(path), message: `the file cannot be read: ${why}` });
    return undefined;
  }
}
