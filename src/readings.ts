/** Where the metrics find their numbers in the parts of a worker, while they are being built as well. */
import type { Decisions } from './cache/decisions.ts';
import type { ChangeOrder } from './cache/order.ts';
import type { Proof } from './cache/proof.ts';
import type { Rosters } from './cache/rosters.ts';
import type { Routes } from './cache/routes.ts';
import type { Connection } from './nats/connection.ts';
import type { Invalidations } from './nats/invalidations.ts';
import type { Liveness } from './nats/liveness.ts';
import type { Members } from './nats/members.ts';
import type { QueueMembership } from './nats/queue-membership.ts';
import type { RequestServer } from './nats/serve.ts';
import type { HookCounts } from './observe/hook-counts.ts';
import { LatencyHistogram } from './observe/histogram.ts';
import type { DecidedReading, Readings } from './observe/metrics.ts';
import type { CallsReading } from './sources/source.ts';
import { version } from './version.ts';
import { operationNames } from './wire/operation.ts';

/** The parts that count something. Those that are not there yet have counted nothing. */
export interface Counting {
  readonly decisions: Decisions;
  readonly rosters: Rosters;
  readonly order: ChangeOrder;
  readonly proof: Proof;
  readonly hooks: HookCounts;
  readonly maxInFlight: number;
  /** How the calls of each source stand; a source may have several ways to be called. */
  readonly calls: { source: string; type: string; read: () => CallsReading }[];
  members?: Members;
  routes?: Routes;
  connection?: Connection;
  liveness?: Liveness;
  membership?: QueueMembership;
  invalidations?: Invalidations;
  server?: RequestServer;
}

export function readingsOf(parts: Counting): Readings {
  const { decisions, rosters, order, proof, hooks } = parts;
  return {
    version,
    decided: () => decidedOf(parts.routes),
    operations: () =>
      operationNames.flatMap((operation) => (parts.server ? [{ operation, ...parts.server.stats[operation] }] : [])),
    caches: () => [
      { cache: 'decisions', ...cacheReading(decisions) },
      { cache: 'rosters', ...cacheReading(rosters) },
    ],
    inFlight: () => parts.server?.inFlight ?? 0,
    refusedReplySubjects: () => parts.server?.refusedReplySubjects ?? 0,
    stalls: () => parts.liveness?.stalls ?? 0,
    queueGroup: () => ({
      isMember: parts.server?.isMember ?? false,
      leaves: parts.membership?.leaves ?? 0,
    }),
    freshness: () => ({
      seen: order.seen,
      ageSeconds: proof.ageMs / 1_000,
      boundSeconds: proof.boundMs / 1_000,
      isNumbered: order.ordering === 'numbered',
      ...order.counts,
      unproved: decisions.unproved,
      ...(parts.invalidations?.counts ?? { ticks: 0, ticksFailed: 0, foreign: 0 }),
    }),
    rosters: () => rosters.counts.all(),
    sources: () => callsBySource(parts.calls),
    maxInFlight: parts.maxInFlight,
    members: () => parts.members?.report().members ?? [],
    hooks: () => ({
      decided: { worker: hooks.decided.worker.all(), 'near-cache': hooks.decided['near-cache'].all() },
      failures: hooks.failures.all(),
      fallbacks: hooks.fallbacks.all(),
      nearCache: hooks.nearCache.all(),
      reports: hooks.reports,
      states: hooks.states(),
    }),
    nats: () => ({
      connected: parts.connection?.isConnected() ?? false,
      reconnects: parts.connection?.counts.reconnects ?? 0,
      errors: parts.connection?.counts.errors ?? 0,
    }),
  };
}

const breakerOrder = ['closed', 'half-open', 'open'] as const;

type SourceReading = { source: string; type: string } & CallsReading;

/** A source with several ways to be called is as bad as its worst. */
function callsBySource(calls: Counting['calls']): Iterable<SourceReading> {
  const bySource = new Map<string, SourceReading>();
  for (const { source, type, read } of calls) {
    const reading = { source, type, ...read() };
    const before = bySource.get(source);
    bySource.set(source, before === undefined ? reading : together(before, reading));
  }
  return bySource.values();
}

function together(one: SourceReading, other: SourceReading): SourceReading {
  const waited = new LatencyHistogram();
  waited.add(one.waited);
  waited.add(other.waited);
  const rank = ({ breaker }: SourceReading): number => breakerOrder.indexOf(breaker);
  return {
    ...one,
    breaker: rank(one) > rank(other) ? one.breaker : other.breaker,
    inFlight: one.inFlight + other.inFlight,
    queued: one.queued + other.queued,
    maxInFlight: one.maxInFlight + other.maxInFlight,
    waited,
  };
}

function cacheReading({ memory, flights }: Decisions | Rosters) {
  return { ...memory.counts, size: memory.size, max: memory.max, inFlight: flights.inFlight, joined: flights.joined };
}

function* decidedOf(routes: Routes | undefined): Generator<DecidedReading> {
  for (const { operation, source, counts } of routes?.all() ?? []) {
    for (const [verdict, count] of Object.entries(counts.decided)) {
      yield { operation, source: source.name, verdict, degraded: false, count };
    }
    for (const [verdict, count] of Object.entries(counts.degraded)) {
      yield { operation, source: source.name, verdict, degraded: true, count };
    }
  }
}
