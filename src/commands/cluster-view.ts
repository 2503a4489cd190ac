/**
 * From the counts that workers give now and gave before to what a person wants to see: how many a second, how long they
 * take, who is there and who was. Plain numbers; how they look is `top-table.ts`. Null where nothing can be said yet.
 */
import type { MembersReport } from '../nats/members.ts';
import { operationNames } from '../wire/operation.ts';
import type { Operation } from '../wire/operation.ts';
import type { StatsReport, WorkerData } from '../wire/service-stats.ts';
import type { Sample } from './cluster-sample.ts';
import { addUp, countsOf, perSecond, share, trafficOf, unknownTraffic } from './traffic.ts';
import type { Counts, Traffic } from './traffic.ts';

export interface WorkerView extends Traffic {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  /** Null while it answers; else for how long it has not. */
  readonly gone_ms: number | null;
  readonly in_flight: number | null;
  readonly proof_age_ms: number | null;
  readonly seen: number | null;
  /** Changes that others had seen a moment before and it has not. */
  readonly behind: number | null;
}

export interface HookView {
  readonly boot_id: string;
  readonly name: string;
  readonly server: string | null;
  readonly version: string | null;
  readonly heard_ms: number;
  readonly seen: number;
  readonly behind: number | null;
  /** Decisions a second, over as many seconds as its reports come apart. */
  readonly decided: number | null;
  /** Of those, by its near cache; from 0 to 1. */
  readonly remembered: number | null;
  readonly failed: number | null;
  readonly fallbacks: number | null;
  readonly gauges: NonNullable<MembersReport['members'][number]['gauges']> | null;
}

export interface SourceView {
  readonly source: string;
  readonly type: string;
  /** On how many workers its circuit is not closed. */
  readonly open_on: number;
  readonly workers: number;
  readonly in_flight: number;
  readonly max_in_flight: number;
  readonly queued: number;
}

export interface View {
  readonly seen: number;
  readonly total: Traffic;
  readonly operations: readonly (Traffic & { readonly operation: Operation; readonly ever: number })[];
  readonly workers: readonly WorkerView[];
  readonly sources: readonly SourceView[];
  readonly hooks: readonly HookView[];
}

/** Who has not answered for so long is no longer shown. */
const goneMs = 30_000;
/** Reports of hooks come every five seconds. */
const hookWindowMs = 10_000;
const leastHookWindowMs = 5_000;
/** What a change takes on its way to everybody. */
const onItsWayMs = 200;

export class ClusterView {
  /** The newest last. */
  #samples: Sample[] = [];
  #members: { members: MembersReport['members']; atMs: number } = { members: [], atMs: -Infinity };
  readonly #known = new Map<string, { report: StatsReport; atMs: number }>();

  /** @returns what is to be seen now */
  add(sample: Sample): View {
    this.#samples = [...this.#samples.filter(({ atMs }) => sample.atMs - atMs <= hookWindowMs + 5_000), sample];
    if (sample.members !== undefined) this.#members = { members: sample.members.members, atMs: sample.atMs };
    const rates = new Map<string, Counts>();
    for (const report of sample.workers) {
      const before = this.#known.get(report.id);
      this.#known.set(report.id, { report, atMs: sample.atMs });
      // Of one that is new it is not known in which time it has counted.
      if (before !== undefined)
        rates.set(report.id, perSecond(report, before.report, (sample.atMs - before.atMs) / 1_000));
    }
    for (const [id, { atMs }] of this.#known) if (sample.atMs - atMs > goneMs) this.#known.delete(id);
    const all = [...rates.values()];
    return {
      seen: highestSeen(sample),
      total: trafficOf(all.length === 0 ? undefined : addUp(all.flatMap((counts) => [...counts.values()]))),
      operations: operationNames.map((operation) => {
        const counted = all.map((counts) => counts.get(operation)).filter((sums) => sums !== undefined);
        return {
          operation,
          ever: everOf(operation, sample),
          ...trafficOf(counted.length === 0 ? undefined : addUp(counted)),
        };
      }),
      workers: this.#workers(sample, rates),
      sources: sourcesOf(sample.workers),
      hooks: this.#hooks(sample),
    };
  }

  #workers(sample: Sample, rates: ReadonlyMap<string, Counts>): WorkerView[] {
    return [...this.#known.values()]
      .map(({ report: { id, version, data }, atMs }): WorkerView => {
        const isHere = atMs === sample.atMs;
        const counts = rates.get(id);
        return {
          id,
          name: data?.name ?? id,
          version,
          gone_ms: isHere ? null : sample.atMs - atMs,
          ...(counts === undefined ? unknownTraffic : trafficOf(addUp(counts.values()))),
          in_flight: isHere ? (data?.in_flight ?? null) : null,
          proof_age_ms: isHere ? (data?.freshness.age_ms ?? null) : null,
          seen: data?.seen ?? null,
          behind: isHere && data !== undefined ? this.#behind(data.seen, sample.atMs) : null,
        };
      })
      .toSorted((one, other) => compare(one.name, other.name) || compare(one.id, other.id));
  }

  #hooks(sample: Sample): HookView[] {
    const old = this.#samples.find(({ atMs }) => sample.atMs - atMs <= hookWindowMs + 1_000);
    const seconds = old === undefined ? 0 : (sample.atMs - old.atMs) / 1_000;
    // Where no worker has told, what one told before: hooks do not go when a worker does.
    const ageMs = sample.atMs - this.#members.atMs;
    return this.#members.members
      .map((member) => ({ ...member, heard_ms: member.heard_ms + ageMs }))
      .filter(({ kind, heard_ms: heardMs }) => kind === 'hook' && heardMs <= goneMs)
      .map(({ boot_id, name, server, version, heard_ms, seen, gauges }): HookView => {
        const counted = seconds * 1_000 < leastHookWindowMs ? null : hookCounts(sample, old, name);
        const decided = counted && counted.decided + counted.remembered;
        return {
          boot_id,
          name,
          server: server ?? null,
          version: version ?? null,
          heard_ms,
          seen,
          behind: this.#behind(seen, sample.atMs - heard_ms),
          decided: decided && decided / seconds,
          remembered: counted && share(counted.remembered, counted.decided + counted.remembered),
          failed: counted && counted.failures / seconds,
          fallbacks: counted && counted.fallbacks / seconds,
          gauges: gauges ?? null,
        };
      })
      .toSorted((one, other) => compare(one.name, other.name) || compare(one.boot_id, other.boot_id));
  }

  /** How far behind who had seen this at that moment, by what anybody had seen a moment before it. */
  #behind(seen: number, atMs: number): number | null {
    const before = this.#samples.findLast((sample) => sample.atMs <= atMs - onItsWayMs);
    return before === undefined ? null : Math.max(0, highestSeen(before) - seen);
  }
}

function everOf(operation: Operation, { workers }: Sample): number {
  return workers.reduce((sum, report) => sum + (countsOf(report).get(operation)?.requests ?? 0), 0);
}

function highestSeen({ workers }: Sample): number {
  return Math.max(0, ...workers.map(({ data }) => data?.seen ?? 0));
}

/** Of one node, over all workers that were there both times: one that has ended has taken its counts along. */
function hookCounts(now: Sample, before: Sample | undefined, node: string): WorkerData['hooks'][string] {
  const sum = { decided: 0, remembered: 0, failures: 0, fallbacks: 0 };
  for (const { id, data } of now.workers) {
    const counted = data?.hooks[node];
    const worker = before?.workers.find((one) => one.id === id);
    if (counted === undefined || worker === undefined) continue;
    const old = worker.data?.hooks[node];
    sum.decided += counted.decided - (old?.decided ?? 0);
    sum.remembered += counted.remembered - (old?.remembered ?? 0);
    sum.failures += counted.failures - (old?.failures ?? 0);
    sum.fallbacks += counted.fallbacks - (old?.fallbacks ?? 0);
  }
  return sum;
}

function sourcesOf(workers: readonly StatsReport[]): SourceView[] {
  const bySource = new Map<string, SourceView>();
  for (const one of workers.flatMap(({ data }) => data?.sources ?? [])) {
    const { source, type, breaker } = one;
    const before = bySource.get(source);
    bySource.set(source, {
      source,
      type,
      open_on: (before?.open_on ?? 0) + (breaker === 'closed' ? 0 : 1),
      workers: (before?.workers ?? 0) + 1,
      in_flight: (before?.in_flight ?? 0) + one.in_flight,
      max_in_flight: (before?.max_in_flight ?? 0) + one.max_in_flight,
      queued: (before?.queued ?? 0) + one.queued,
    });
  }
  return [...bySource.values()].toSorted((one, other) => compare(one.source, other.source));
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
