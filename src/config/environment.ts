/** The environment's part in the configuration: which variables there are, and which key each overrides. */
import type { Path, PlacedProblem } from './problems.ts';
import { problemAt } from './problems.ts';
import { isMap } from './routes.ts';
import { similarTo } from './similar.ts';

const overrides: Record<string, Path> = {
  WARDER_NATS_URL: ['nats', 'url'],
  WARDER_HTTP_LISTEN: ['http', 'listen'],
  WARDER_SUBJECT_PREFIX: ['nats', 'subject_prefix'],
  WARDER_LOG_LEVEL: ['log', 'level'],
};

/** Those above and the one that names the file. */
export const variableNames = [...Object.keys(overrides), 'WARDER_CONFIG'];

/** What Kubernetes sets in every pod beside a service that is called `warder` or `warder-…`. */
const kubernetes = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?$/;

/** Puts the variables' values in place of the file's. An empty variable counts as none. */
export function applyEnvironment(tree: Record<string, unknown>, env: NodeJS.ProcessEnv): void {
  for (const [name, [section, key]] of Object.entries(overrides)) {
    const text = env[name]?.trim();
    if (text === undefined || text === '' || section === undefined || key === undefined) continue;
    const current = tree[String(section)];
    if (current !== undefined && !isMap(current)) continue; // a problem of the file, which it is told
    tree[String(section)] = { ...current, [String(key)]: text };
  }
}

/** The variable that a value came from, if it was not the file. */
export function variableOf(keys: Path, env: NodeJS.ProcessEnv): string | undefined {
  return Object.entries(overrides).find(
    ([name, path]) => (env[name]?.trim() ?? '') !== '' && path.every((key, index) => key === keys[index]),
  )?.[0];
}

/** A mistyped variable would be ignored in silence, so it is a problem. `own` are those that the file itself names. */
export function unknownVariables(env: NodeJS.ProcessEnv, own: ReadonlySet<string>): PlacedProblem[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('WARDER_') && !variableNames.includes(name))
    .filter((name) => !own.has(name) && !kubernetes.test(name))
    .map((name) => {
      const meant = similarTo(name, variableNames);
      const guess = meant === undefined ? '' : `did you mean ${meant}? `;
      const message = `is no variable of Warder; ${guess}Known: ${variableNames.join(', ')}`;
      return { ...problemAt([], message), variable: name };
    });
}
