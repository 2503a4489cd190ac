/** What workers count of requests: taken from their reports, subtracted, summed, and turned into what happens in a second. */
import type { StatsReport } from '../wire/service-stats.ts';
import { quantileMs } from './quantile.ts';

/** Of one operation, of one worker, of all. Null where nothing can be said yet. */
export interface Traffic {
  /** These are for one second. */
  readonly requests: number | null;
  readonly refused: number | null;
  readonly degraded: number | null;
  readonly failed: number | null;
  /** Of the requests, from 0 to 1. */
  readonly remembered: number | null;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
}

export interface Sums {
  requests: number;
  refused: number;
  degraded: number;
  failed: number;
  remembered: number;
  /** Cumulative, by upper bound in seconds. */
  buckets: Record<string, number>;
}

/** By operation. */
export type Counts = ReadonlyMap<string, Sums>;

export const unknownTraffic: Traffic = {
  requests: null,
  refused: null,
  degraded: null,
  failed: null,
  remembered: null,
  p50_ms: null,
  p99_ms: null,
};

/** Since the start of the worker. */
export function countsOf({ endpoints }: StatsReport): Counts {
  return new Map(
    endpoints.map(({ name, num_requests, data }): [string, Sums] => {
      const { deny = 0, drop = 0, defer = 0 } = data?.verdicts ?? {};
      return [
        name,
        {
          requests: num_requests,
          refused: deny + drop + defer,
          degraded: total(data?.degraded),
          failed: total(data?.failures),
          remembered: data?.remembered ?? 0,
          buckets: data?.latency_buckets ?? {},
        },
      ];
    }),
  );
}

/** What was added in a second between two reports of a worker that came so many seconds apart. */
export function perSecond(now: StatsReport, before: StatsReport, seconds: number): Counts {
  const earlier = countsOf(before);
  return new Map(
    [...countsOf(now)].map(([operation, sums]): [string, Sums] => {
      const added = combine(sums, earlier.get(operation) ?? nothing(), -1);
      return [operation, combine(nothing(), added, 1 / seconds)];
    }),
  );
}

export function addUp(all: Iterable<Sums>): Sums {
  let sum = nothing();
  for (const one of all) sum = combine(sum, one, 1);
  return sum;
}

/** @param sums of one second; undefined: not known */
export function trafficOf(sums: Sums | undefined): Traffic {
  if (sums === undefined) return unknownTraffic;
  const { requests, refused, degraded, failed, remembered, buckets } = sums;
  return {
    requests,
    refused,
    degraded,
    failed,
    remembered: share(remembered, requests),
    p50_ms: quantileMs(buckets, 0.5),
    p99_ms: quantileMs(buckets, 0.99),
  };
}

export function share(part: number, whole: number): number | null {
  return whole <= 0 ? null : Math.min(1, part / whole);
}

function nothing(): Sums {
  return { requests: 0, refused: 0, degraded: 0, failed: 0, remembered: 0, buckets: {} };
}

function combine(one: Sums, other: Sums, factor: number): Sums {
  const buckets = { ...one.buckets };
  for (const [bound, count] of Object.entries(other.buckets)) buckets[bound] = (buckets[bound] ?? 0) + factor * count;
  return {
    requests: one.requests + factor * other.requests,
    refused: one.refused + factor * other.refused,
    degraded: one.degraded + factor * other.degraded,
    failed: one.failed + factor * other.failed,
    remembered: one.remembered + factor * other.remembered,
    buckets,
  };
}

function total(counts: Readonly<Record<string, number>> = {}): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
