/** What a schema cannot see: that names name something, and that a source can do what an operation asks of it. */
import { InvalidJid, parseJid } from '../wire/jid.ts';
import { pathText } from './problems.ts';
import type { Problem } from './problems.ts';
import type { Config } from './schema.ts';
import { operationsOfType } from './sources.ts';

export function checkReferences(config: Config): Problem[] {
  const problems: Problem[] = [];
  const names = Object.keys(config.sources);
  for (const [operation, { sources }] of Object.entries(config.operations)) {
    for (const [domain, route] of Object.entries(sources)) {
      const path = pathText(['operations', operation, 'sources', domain]);
      problems.push(...checkDomain(domain, path));
      const source = config.sources[route.source];
      if (source === undefined) {
        const known = names.length === 0 ? 'no sources are configured' : `there are ${names.join(', ')}`;
        problems.push({ path, message: `no source is named ${JSON.stringify(route.source)}; ${known}` });
      } else if (!(operationsOfType[source.type] as readonly string[]).includes(operation)) {
        const able = operationsOfType[source.type].join(', ');
        problems.push({ path, message: `a ${source.type} source cannot answer ${operation}; it can answer ${able}` });
      }
    }
  }
  const { nats } = config;
  if ((nats.password === undefined) !== (nats.user === undefined)) {
    problems.push({ path: 'nats', message: 'user and password go together' });
  }
  return problems;
}

function checkDomain(domain: string, path: string): Problem[] {
  if (domain === '*') return [];
  try {
    const { full } = parseJid(domain);
    if (full === domain && !/[@/]/.test(full)) return [];
    const right = /[@/]/.test(full) ? 'it must be a domain, without user or resource' : `write it as ${full}`;
    return [{ path, message: `${JSON.stringify(domain)} is no domain in its normal form; ${right}` }];
  } catch (error) {
    if (!(error instanceof InvalidJid)) throw error;
    return [{ path, message: error.message }];
  }
}
