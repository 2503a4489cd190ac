/**
 * Every metric that a worker exports. What is counted on the way of a request is a plain number elsewhere and read here
 * at the scrape; what happens seldom (a call to a source) is counted here directly. No JID and no room is ever a label.
 */
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { latencyBoundsSeconds } from './histogram.ts';
import type { LatencyHistogram } from './histogram.ts';
import type { HookCount, HookState } from './hook-counts.ts';
import { plainMetricsOf } from './plain-metrics.ts';

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
    shed: Record<string, number>;
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
  readonly queueGroup: () => { isMember: boolean; leaves: number };
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
  readonly sources: () => Iterable<{
    source: string;
    type: string;
    breaker: 'closed' | 'half-open' | 'open';
    inFlight: number;
    queued: number;
    maxInFlight: number;
    waited: LatencyHistogram;
  }>;
  readonly maxInFlight: number;
  /** Who is heard: of workers and hooks. */
  readonly members: () => Iterable<{ kind: 'worker' | 'hook'; name: string; seen: number }>;
  readonly hooks: () => {
    decided: { worker: Iterable<HookCount>; 'near-cache': Iterable<HookCount> };
    failures: Iterable<HookCount>;
    fallbacks: Iterable<HookCount>;
    nearCache: Iterable<HookCount>;
    reports: Readonly<Record<string, number>>;
    states: Iterable<HookState>;
  };
}

export interface Metrics {
  readonly registry: Registry;
  readonly observeSource: (source: string, type: string, outcome: string, seconds: number) => void;
}

export function createMetrics(readings: Readings): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const { counter, gauge, histogram } = plainMetricsOf(registry);

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
  gauge(
    'warder_queue_group_member',
    '1 while the worker is asked, 0 before it is, while its event loop lags, and when it stops.',
    [],
    (set) => set({}, readings.queueGroup().isMember ? 1 : 0),
  );
  counter(
    'warder_queue_group_leaves_total',
    'Times that the worker has left the queue group because its event loop lagged.',
    [],
    (set) => set({}, readings.queueGroup().leaves),
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
  histogram(
    'warder_request_duration_seconds',
    'From the arrival of a request in the process to its reply.',
    ['operation'],
    () => map(readings.operations(), ({ operation, latency }) => ({ labels: { operation }, latency })),
  );
  counter(
    'warder_requests_shed_total',
    'Requests that were not begun: too many were in flight, or their budget had passed.',
    ['operation', 'reason'],
    (set) =>
      each(readings.operations(), ({ operation, shed }) =>
        each(Object.entries(shed), ([reason, count]) => set({ operation, reason }, count)),
      ),
  );
  gauge('warder_in_flight_requests_max', 'Above it a request is answered with overloaded.', [], (set) =>
    set({}, readings.maxInFlight),
  );
  gauge(
    'warder_source_breaker_state',
    'The circuit of a source: 0 closed, 1 trying whether it is back, 2 open.',
    ['source', 'type'],
    (set) =>
      each(readings.sources(), ({ source, type, breaker }) =>
        set({ source, type }, breaker === 'closed' ? 0 : breaker === 'half-open' ? 1 : 2),
      ),
  );
  gauge('warder_source_calls_in_flight', 'Calls of a source under way.', ['source', 'type'], (set) =>
    each(readings.sources(), ({ source, type, inFlight }) => set({ source, type }, inFlight)),
  );
  gauge('warder_source_calls_in_flight_max', 'Calls that a source takes at once.', ['source', 'type'], (set) =>
    each(readings.sources(), ({ source, type, maxInFlight }) => set({ source, type }, maxInFlight)),
  );
  gauge('warder_source_calls_queued', 'Calls that wait for a place at their source.', ['source', 'type'], (set) =>
    each(readings.sources(), ({ source, type, queued }) => set({ source, type }, queued)),
  );
  histogram(
    'warder_source_queue_wait_seconds',
    'How long calls waited for a place at their source.',
    ['source', 'type'],
    () => map(readings.sources(), ({ source, type, waited }) => ({ labels: { source, type }, latency: waited })),
  );
  gauge('warder_members', 'Workers and hooks that this worker hears.', ['kind'], (set) => {
    const counts = { worker: 0, hook: 0 };
    each(readings.members(), ({ kind }) => (counts[kind] += 1));
    each(Object.entries(counts), ([kind, count]) => set({ kind }, count));
  });

  // What hooks have counted: each report by one worker, so that the sum over workers is the truth. The gauges of a hook
  // are exported by every worker, and are gone when it is.
  gauge('warder_hook_info', 'Always 1, while the hook is heard.', ['node', 'kind', 'version'], (set) =>
    each(readings.hooks().states, ({ node, kind, version }) => set({ node, kind, version }, 1)),
  );
  gauge('warder_hook_seen', 'The highest number of the stream that a hook has applied.', ['node'], (set) =>
    each(readings.members(), ({ kind, name, seen }) => (kind === 'hook' ? set({ node: name }, seen) : undefined)),
  );
  counter(
    'warder_hook_decisions_total',
    'Answers that hooks acted on, from workers and from what they remember.',
    ['node', 'operation', 'verdict', 'by'],
    (set) =>
      each(Object.entries(readings.hooks().decided), ([by, counts]) =>
        each(counts, ({ node, operation, word, count }) => set({ node, operation, verdict: word, by }, count)),
      ),
  );
  counter(
    'warder_hook_failures_total',
    'Questions of hooks that were not answered, by what happened.',
    ['node', 'operation', 'kind'],
    (set) =>
      each(readings.hooks().failures, ({ node, operation, word, count }) =>
        set({ node, operation, kind: word }, count),
      ),
  );
  counter(
    'warder_hook_fallbacks_total',
    'What hooks did without an answer.',
    ['node', 'operation', 'fallback'],
    (set) =>
      each(readings.hooks().fallbacks, ({ node, operation, word, count }) =>
        set({ node, operation, fallback: word }, count),
      ),
  );
  counter(
    'warder_hook_near_cache_events_total',
    'What the near caches did: hit, miss, unproved (remembered, but not proved fresh), eviction, gap, clear.',
    ['node', 'event'],
    (set) => each(readings.hooks().nearCache, ({ node, word, count }) => set({ node, event: word }, count)),
  );
  for (const [name, help, read] of hookGauges) {
    gauge(name, help, ['node'], (set) =>
      each(readings.hooks().states, ({ node, gauges }) => {
        const value = gauges[read];
        if (value !== undefined) set({ node }, value);
      }),
    );
  }
  counter('warder_hook_reports_total', 'Reports of hooks, by what became of them here.', ['outcome'], (set) =>
    each(Object.entries(readings.hooks().reports), ([outcome, count]) => set({ outcome }, count)),
  );

  const sourceCalls = new Histogram({
    name: 'warder_source_call_duration_seconds',
    help: 'Calls to sources by outcome, the wait for a place at the source included.',
    labelNames: ['source', 'type', 'outcome'],
    buckets: [...latencyBoundsSeconds],
    registers,
  });
  return {
    registry,
    observeSource: (source, type, outcome, seconds) => sourceCalls.observe({ source, type, outcome }, seconds),
  };
}

/** By the name of the metric. */
const hookGauges = [
  ['warder_hook_near_cache_entries', 'Decisions that a hook remembers.', 'near_cache_entries'],
  ['warder_hook_near_cache_entries_max', 'The configured bound of it.', 'near_cache_max'],
  ['warder_hook_pending_requests', 'Questions of a hook that wait for an answer.', 'pending'],
  ['warder_hook_rosters_online', 'Users whose rosters a hook keeps.', 'rosters_online'],
  ['warder_hook_rosters_due', 'Rosters that a hook has to ask for again.', 'rosters_due'],
  ['warder_hook_connected_seconds', 'How long the connection of a hook to NATS stands.', 'connected_s'],
] as const;

function map<T, U>(items: Iterable<T>, change: (item: T) => U): U[] {
  return Array.from(items, change);
}

function each<T>(items: Iterable<T>, visit: (item: T) => void): void {
  for (const item of items) visit(item);
}
