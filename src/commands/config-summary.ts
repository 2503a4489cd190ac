/** What a configuration comes to, in a few lines: which source answers for whom, and what nobody answers. */
import type { Config } from '../config/schema.ts';
import { operationNames } from '../wire/operation.ts';
import type { Operation } from '../wire/operation.ts';
import { durationWords } from './explain-decision.ts';
import { columns } from './terminal.ts';

export interface SummedRoute {
  readonly operation: Operation;
  readonly domain: string;
  readonly source: string;
  readonly type: string;
  readonly ttl_ms?: number | undefined;
  readonly fallback?: string | undefined;
}

export function routesOf(config: Config): SummedRoute[] {
  return operationNames.flatMap((operation) => {
    const settings: { sources: Record<string, Route>; ttl_ms?: number; fallback?: string } =
      config.operations[operation];
    return Object.entries(settings.sources).map(([domain, { source, ttl_ms, fallback }]) => ({
      operation,
      domain,
      source,
      type: config.sources[source]?.type ?? 'constant',
      ttl_ms: ttl_ms ?? settings.ttl_ms,
      fallback: fallback ?? settings.fallback,
    }));
  });
}

interface Route {
  readonly source: string;
  readonly ttl_ms?: number | undefined;
  readonly fallback?: string | undefined;
}

export function configSummary(config: Config): string {
  const routes = routesOf(config);
  const rows = operationNames.map((operation): [string, string] => {
    const own = routes.filter((route) => route.operation === operation);
    if (own.length === 0) return [operation, nobody(operation)];
    return [operation, own.map(routeWords).join('; ')];
  });
  const used = new Set(routes.map(({ source }) => source));
  const unused = Object.keys(config.sources).filter((name) => !used.has(name));
  return columns([
    ['nats', `${config.nats.url.join(', ')}, prefix ${config.nats.subject_prefix}`],
    ['http', `http://${config.http.listen}/metrics`],
    ...rows,
    ...(unused.length === 0 ? [] : [['unused', `no operation names ${unused.join(', ')}`] as [string, string]]),
  ]);
}

function nobody(operation: Operation): string {
  return operation === 'user-removed'
    ? 'no source is told; what is remembered of the user is forgotten'
    : 'no source: answered with source-unavailable, so that the fallback of the hook decides';
}

function routeWords({ domain, source, type, ttl_ms, fallback }: SummedRoute): string {
  const where = domain === '*' ? 'all domains' : domain;
  const kept = ttl_ms === undefined ? '' : `, kept ${durationWords(ttl_ms)}`;
  const how = type === 'constant' || fallback === undefined ? kept : `${kept}, fallback ${fallback}`;
  return `${where} → ${source} (${type}${how})`;
}
