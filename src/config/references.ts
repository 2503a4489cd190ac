/** What a schema cannot see: that names name something, and that a source can do what an operation asks of it. */
import { InvalidJid, parseJid } from '../wire/jid.ts';
import { problemAt } from './problems.ts';
import type { Path, PlacedProblem } from './problems.ts';
import { isMap, wholeRoute, wholeRoutes } from './routes.ts';
import { similarTo } from './similar.ts';
import { constantNames, operationsOfConstants, operationsOfType } from './sources.ts';
import { statementsOf } from './sql-source.ts';

/** Takes the tree as it was written, so that names are checked even while something else is wrong. */
export function checkReferences(tree: Record<string, unknown>): PlacedProblem[] {
  const sources = isMap(tree['sources']) ? tree['sources'] : {};
  const operations = isMap(tree['operations']) ? tree['operations'] : {};
  const reserved = constantNames
    .filter((name) => Object.hasOwn(sources, name))
    .map((name) => problemAt(['sources', name], reservedWords(name)));
  const wrong = Object.entries(operations).flatMap(([operation, settings]) => {
    const written = isMap(settings) ? settings['sources'] : undefined;
    const routes = wholeRoutes(written);
    if (!isMap(routes)) return [];
    const isShort = routes !== written;
    return Object.entries(routes).flatMap(([domain, route]) => {
      const path = ['operations', operation, 'sources', ...(isShort ? [] : [domain])];
      const whole = wholeRoute(route);
      const name = isMap(whole) ? whole['source'] : undefined;
      const domainProblems = isShort ? [] : checkDomain(domain, path);
      return typeof name === 'string'
        ? [...domainProblems, ...checkSource(name, operation, sources, path)]
        : domainProblems;
    });
  });
  return [...reserved, ...wrong];
}

function reservedWords(name: string): string {
  return `is always there without being configured, and answers ${name} to everything; give this source another name`;
}

function checkSource(name: string, operation: string, sources: Record<string, unknown>, path: Path): PlacedProblem[] {
  const constant = constantNames.find((known) => known === name);
  if (constant !== undefined) {
    if (operationsOfConstants.some((known) => known === operation)) return [];
    const able = operationsOfConstants.join(', ');
    return [problemAt(path, `${constant} is a verdict and cannot answer ${operation}; it can answer ${able}`)];
  }
  const names = Object.keys(sources);
  if (!names.includes(name)) {
    const meant = similarTo(name, names);
    const guess = meant === undefined ? '' : `did you mean ${meant}? `;
    const known = names.length === 0 ? 'no sources are configured' : `${guess}There are ${names.join(', ')}`;
    return [problemAt(path, `no source is named ${JSON.stringify(name)}; ${known}`)];
  }
  const source = sources[name];
  const type = isMap(source) ? source['type'] : undefined;
  const able: readonly string[] | undefined = Object.entries(operationsOfType).find(([known]) => known === type)?.[1];
  if (able === undefined) return [];
  if (able.includes(operation)) return isMap(source) ? checkStatements(name, operation, source, path) : [];
  return [problemAt(path, `a ${String(type)} source cannot answer ${operation}; it can answer ${able.join(', ')}`)];
}

function checkStatements(
  name: string,
  operation: string,
  source: Record<string, unknown>,
  path: Path,
): PlacedProblem[] {
  if (source['type'] !== 'roster-sql') return [];
  const needed: readonly string[] = Object.entries(statementsOf).find(([known]) => known === operation)?.[1] ?? [];
  const missing = needed.filter((key) => source[key] === undefined);
  if (missing.length === 0) return [];
  return [problemAt(path, `needs statements of the source: sources.${name} has no ${missing.join(' and no ')}`)];
}

function checkDomain(domain: string, path: Path): PlacedProblem[] {
  if (domain === '*') return [];
  try {
    const { full } = parseJid(domain);
    const wrong = `${JSON.stringify(domain)} is no domain in its normal form`;
    if (/[@/]/.test(full)) return [problemAt(path, `${wrong}; leave user and resource out`)];
    return full === domain ? [] : [problemAt(path, `${wrong}; write it as ${full}`)];
  } catch (error) {
    if (!(error instanceof InvalidJid)) throw error;
    return [problemAt(path, error.message)];
  }
}
