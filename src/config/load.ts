/** From a YAML file and the environment to one validated, frozen value; or every problem at once, each with its place. */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseYaml } from './document.ts';
import { applyEnvironment, unknownVariables, variableOf } from './environment.ts';
import { withAbsolutePaths } from './file-paths.ts';
import { validate } from './issues.ts';
import { ConfigInvalid, problemAt } from './problems.ts';
import type { PlacedProblem } from './problems.ts';
import { checkReferences } from './references.ts';
import { configSchema } from './schema.ts';
import type { Config } from './schema.ts';
import { resolveSecrets } from './secrets.ts';

/**
 * Reads and validates a configuration file.
 * @throws ConfigInvalid with every problem found.
 */
export function loadConfig(file: string, env: NodeJS.ProcessEnv): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigInvalid(file, [problemAt([], whyUnreadable(error))]);
  }
  return parseConfig(text, file, env);
}

/**
 * The same from a text; `file` is for the messages, and its folder is where relative paths begin.
 * @throws ConfigInvalid with every problem found.
 */
export function parseConfig(text: string, file: string, env: NodeJS.ProcessEnv): Config {
  const document = parseYaml(text, file);
  const folder = dirname(file);
  const { tree, secrets, variables, problems: unresolved } = resolveSecrets(document.tree, folder, env);
  const whole = withAbsolutePaths(tree, folder) as Record<string, unknown>;
  applyEnvironment(whole, env);
  const validated = validate(configSchema, whole, secrets);
  // What could not be resolved is empty now: that it is, is no second problem.
  const missing = new Set(unresolved.map(({ path }) => path));
  const invalid = 'problems' in validated ? validated.problems.filter(({ path }) => !missing.has(path)) : [];
  const problems = [...unknownVariables(env, variables), ...unresolved, ...invalid, ...checkReferences(whole)];
  if (problems.length > 0 || 'problems' in validated) {
    const located = problems.map((problem): PlacedProblem => {
      const variable = problem.variable ?? variableOf(problem.keys, env);
      return variable === undefined ? { ...problem, line: document.lineOf(problem.keys) } : { ...problem, variable };
    });
    throw new ConfigInvalid(file, located);
  }
  return deepFreeze(validated.data);
}

function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'is a folder; the configuration is one YAML file';
  if (code === 'EACCES') return 'may not be read by this user';
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
