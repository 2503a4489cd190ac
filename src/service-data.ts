/** Where the answers to `$SRV.STATS` and `$SRV.INFO` find their numbers in the parts of a worker. */
import type { Routes } from './cache/routes.ts';
import { latencyBoundsSeconds } from './observe/histogram.ts';
import type { LatencyHistogram } from './observe/histogram.ts';
import type { HookCount, HookCounts } from './observe/hook-counts.ts';
import { readingsOf } from './readings.ts';
import type { Counting } from './readings.ts';
import type { Operation } from './wire/operation.ts';
import type { EndpointData, WorkerData } from './wire/service-stats.ts';

/** A report goes to everybody who asks, as one message. */
const maxNodes = 500;

export interface ServiceData {
  worker(): WorkerData;
  endpoint(operation: Operation): EndpointData;
}

export function serviceDataOf(parts: Counting, self: { readonly prefix: string; readonly name: string }): ServiceData {
  const readings = readingsOf(parts);
  return {
    worker: () => {
      const { seen, isNumbered, ageSeconds, boundSeconds } = readings.freshness();
      return {
        ...self,
        seen: isNumbered ? seen : 0,
        in_flight: readings.inFlight(),
        max_in_flight: readings.maxInFlight,
        freshness: {
          jetstream: isNumbered,
          ...(Number.isFinite(ageSeconds) && { age_ms: Math.round(ageSeconds * 1_000) }),
          bound_ms: boundSeconds * 1_000,
        },
        sources: Array.from(readings.sources(), ({ source, type, breaker, inFlight, maxInFlight, queued }) => ({
          source,
          type,
          breaker,
          in_flight: inFlight,
          max_in_flight: maxInFlight,
          queued,
        })),
        hooks: hooksOf(parts.hooks),
      };
    },
    endpoint: (operation) => {
      const { decided, degraded, remembered } = routesOf(parts.routes, operation);
      const stats = parts.server?.stats[operation];
      return {
        verdicts: decided,
        degraded,
        failures: { ...stats?.failures },
        remembered: operation === 'roster-refresh' ? parts.rosters.memory.counts.hits : remembered,
        latency_buckets: stats === undefined ? {} : bucketsOf(stats.latency),
      };
    },
  };
}

function routesOf(routes: Routes | undefined, operation: Operation) {
  const decided: Record<string, number> = {};
  const degraded: Record<string, number> = {};
  let remembered = 0;
  for (const route of routes?.all() ?? []) {
    if (route.operation !== operation) continue;
    addTo(decided, route.counts.decided);
    addTo(degraded, route.counts.degraded);
    remembered += route.counts.remembered;
  }
  return { decided, degraded, remembered };
}

function addTo(sums: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [word, count] of Object.entries(counts)) sums[word] = (sums[word] ?? 0) + count;
}

/** Cumulative, as Prometheus has them. */
function bucketsOf({ counts }: LatencyHistogram): Record<string, number> {
  let sum = 0;
  return Object.fromEntries(
    Array.from(counts, (count, index) => [String(latencyBoundsSeconds[index] ?? '+Inf'), (sum += count)]),
  );
}

function hooksOf(hooks: HookCounts): WorkerData['hooks'] {
  const here = hooks.states().slice(0, maxNodes);
  const sums = new Map(here.map(({ node }) => [node, { decided: 0, remembered: 0, failures: 0, fallbacks: 0 }]));
  const add = (key: 'decided' | 'remembered' | 'failures' | 'fallbacks', counts: Iterable<HookCount>): void => {
    for (const { node, count } of counts) {
      const sum = sums.get(node);
      if (sum !== undefined) sum[key] += count;
    }
  };
  add('decided', hooks.decided.worker.all());
  add('remembered', hooks.decided['near-cache'].all());
  add('failures', hooks.failures.all());
  add('fallbacks', hooks.fallbacks.all());
  return Object.fromEntries(sums);
}
