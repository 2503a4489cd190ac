/**
 * Every metric that a worker exports. What is counted on the way of a request is a plain number elsewhere and read here
 * at the scrape; what happens seldom (a call to a source) is counted here directly. No JID and no room is ever a label.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { latencyBoundsSeconds } from './histogram.ts';
import type { LatencyHistogram } from './histogram.ts';

/** How often a verdict was given. */
export interface DecidedReading {
  readonly operation: string;
  readonly source: string;
  readonly verdict: string;
  readonly degraded: boolean;
  readonly count: number;
}

/** Where the plain numbers stand. */
export interface Readings {
  readonly version: string;
  readonly decided: () => Iterable<DecidedReading>;
  readonly operations: () => Iterable<{
    operation: string;
    latency: LatencyHistogram;
    failures: Record<string, number>;
  }>;
  readonly caches: () => Iterable<{
    cache: string;
    size: number;
    max: number;
    inFlight: number;
    joined: number;
    hits: number;
    misses: number;
    evictions: number;
  }>;
  readonly inFlight: () => number;
  readonly refusedReplySubjects: () => number;
  readonly stalls: () => number;
  readonly freshness: () => {
    seen: number;
    ageSeconds: number;
    boundSeconds: number;
    isNumbered: boolean;
    applied: number;
    gaps: number;
    clears: number;
    unproved: number;
    ticks: number;
    ticksFailed: number;
    foreign: number;
  };
  readonly rosters: () => Iterable<{ reason: string; outcome: string; count: number }>;
  readonly nats: () => { connected: boolean; reconnects: number; errors: number };
}

export interface Metrics {
  readonly registry: Registry;
  readonly observeSource: (source: string, type: string, outcome: string, seconds: number) => void;
}

export function createMetrics(readings: Readings): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const counter = <L extends string>(name: string, help: string, labelNames: L[], read: (set: Setter<L>) => void) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  const gauge = <L extends string>(name: string, help: string, labelNames: L[], read: (set: Setter<L>) => void) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => this.set(labels, value));
      },
    });

  gauge('warder_build_info', 'Always 1; the version is in the label.', ['version'], (set) =>
    set({ version: readings.version }, 1),
  );
  counter(
    'warder_cache_evictions_total',
    'Entries that made room for others because the cache was full.',
    ['cache'],
    (set) => each(readings.caches(), ({ cache, evictions }) => set({ cache }, evictions)),
  );
  gauge('warder_cache_entries', 'Entries remembered now, expired ones included.', ['cache'], (set) =>
    each(readings.caches(), ({ cache, size }) => set({ cache }, size)),
  );
  gauge('warder_cache_entries_max', 'The configured bound of the cache.', ['cache'], (set) =>
    each(readings.caches(), ({ cache, max }) => set({ cache }, max)),
  );
  counter('warder_cache_requests_total', 'Questions to the cache, by result.', ['cache', 'result'], (set) =>
    each(readings.caches(), ({ cache, hits, misses }) => {
      set({ cache, result: 'hit' }, hits);
      set({ cache, result: 'miss' }, misses);
    }),
  );
  counter(
    'warder_decisions_total',
    'Decisions given, by verdict; degraded are configured fallbacks and no real decisions.',
    ['operation', 'source', 'verdict', 'degraded'],
    (set) =>
      each(readings.decided(), ({ operation, source, verdict, degraded, count }) =>
        set({ operation, source, verdict, degraded: String(degraded) }, count),
      ),
  );
  counter('warder_changes_applied_total', 'Changes of others and of our own that were applied.', [], (set) =>
    set({}, readings.freshness().applied),
  );
  counter(
    'warder_changes_gaps_total',
    'Times that a number of the stream was missed and everything was cleared.',
    [],
    (set) => set({}, readings.freshness().gaps),
  );
  counter(
    'warder_changes_clears_total',
    'Times that everything remembered was dropped, gaps and reconnects included.',
    [],
    (set) => set({}, readings.freshness().clears),
  );
  counter(
    'warder_changes_foreign_total',
    'Messages on the subject of invalidated things that were not our stream’s.',
    [],
    (set) => set({}, readings.freshness().foreign),
  );
  gauge('warder_changes_seen', 'The highest number of the stream that was applied.', [], (set) =>
    set({}, readings.freshness().seen),
  );
  gauge(
    'warder_freshness_age_seconds',
    'How old the proof is that what is remembered is fresh; absent before the first.',
    [],
    (set) => {
      const { ageSeconds } = readings.freshness();
      if (Number.isFinite(ageSeconds)) set({}, ageSeconds);
    },
  );
  gauge(
    'warder_freshness_bound_seconds',
    'The configured staleness bound: nothing older is served from memory.',
    [],
    (set) => set({}, readings.freshness().boundSeconds),
  );
  gauge(
    'warder_freshness_jetstream',
    '1 when a stream orders the changes, 0 when freshness cannot be proved.',
    [],
    (set) => set({}, readings.freshness().isNumbered ? 1 : 0),
  );
  counter('warder_freshness_ticks_total', 'Ticks published to prove freshness, by outcome.', ['outcome'], (set) => {
    const { ticks, ticksFailed } = readings.freshness();
    set({ outcome: 'acknowledged' }, ticks - ticksFailed);
    set({ outcome: 'failed' }, ticksFailed);
  });
  counter(
    'warder_freshness_unproved_total',
    'Remembered decisions that were not served for want of a recent proof.',
    [],
    (set) => set({}, readings.freshness().unproved),
  );
  counter('warder_event_loop_stalls_total', 'Times that the event loop stood still for over 100 ms.', [], (set) =>
    set({}, readings.stalls()),
  );
  counter('warder_failures_total', 'Requests answered with a failure, by its kind.', ['operation', 'kind'], (set) =>
    each(readings.operations(), ({ operation, failures }) =>
      each(Object.entries(failures), ([kind, count]) => set({ operation, kind }, count)),
    ),
  );
  gauge('warder_in_flight_requests', 'Requests waiting for a source now.', [], (set) => set({}, readings.inFlight()));
  gauge('warder_lookups_in_flight', 'Questions to sources under way now.', ['cache'], (set) =>
    each(readings.caches(), ({ cache, inFlight }) => set({ cache }, inFlight)),
  );
  counter('warder_lookups_joined_total', 'Requests that joined an identical lookup under way.', ['cache'], (set) =>
    each(readings.caches(), ({ cache, joined }) => set({ cache }, joined)),
  );
  gauge('warder_nats_connected', '1 while the connection to the broker stands.', [], (set) =>
    set({}, readings.nats().connected ? 1 : 0),
  );
  counter('warder_nats_errors_total', 'Errors that the broker reported, such as denied permissions.', [], (set) =>
    set({}, readings.nats().errors),
  );
  counter('warder_nats_reconnects_total', 'Times that the connection to the broker was made again.', [], (set) =>
    set({}, readings.nats().reconnects),
  );
  counter(
    'warder_refused_reply_subjects_total',
    'Requests dropped in silence because their reply subject was no inbox.',
    [],
    (set) => set({}, readings.refusedReplySubjects()),
  );
  counter(
    'warder_rosters_refreshed_total',
    'Users whose rosters were asked for, by reason and by what became of it.',
    ['reason', 'outcome'],
    (set) => each(readings.rosters(), ({ reason, outcome, count }) => set({ reason, outcome }, count)),
  );
  registry.registerMetric(requestDuration(readings) as unknown as Histogram);

  const sourceCalls = new Histogram({
    name: 'warder_source_call_duration_seconds',
    help: 'Calls to sources, by outcome.',
    labelNames: ['source', 'type', 'outcome'],
    buckets: [...latencyBoundsSeconds],
    registers,
  });
  return {
    registry,
    observeSource: (source, type, outcome, seconds) => sourceCalls.observe({ source, type, outcome }, seconds),
  };
}

type Setter<L extends string> = (labels: Record<L, string>, value: number) => void;

function each<T>(items: Iterable<T>, visit: (item: T) => void): void {
  for (const item of items) visit(item);
}

/** What a registry asks of a metric, made from histograms in plain numbers. */
function requestDuration(readings: Readings): object {
  const name = 'warder_request_duration_seconds';
  return {
    name,
    help: 'From the arrival of a request in the process to its reply.',
    type: 'histogram',
    aggregator: 'sum',
    labelNames: ['operation'],
    reset: () => undefined,
    get: async () => ({
      name,
      help: 'From the arrival of a request in the process to its reply.',
      type: 'histogram',
      aggregator: 'sum',
      values: [...readings.operations()].flatMap(({ operation, latency }) => {
        let below = 0;
        const buckets = [...latency.counts].map((count, index) => {
          below += count;
          const le = latencyBoundsSeconds[index] ?? '+Inf';
          return { metricName: `${name}_bucket`, labels: { operation, le }, value: below };
        });
        return [
          ...buckets,
          { metricName: `${name}_sum`, labels: { operation }, value: latency.sumSeconds },
          { metricName: `${name}_count`, labels: { operation }, value: latency.count },
        ];
      }),
    }),
  };
}
