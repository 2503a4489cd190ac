/**
 * What hooks have counted, added up by node, and how each stands. Plain numbers: `metrics.ts` reads them at the scrape.
 * It knows nothing of how reports arrive, nor whether one was counted before.
 */
import type { Clock } from '../clock.ts';
import { hookFailures, hookFallbacks, hookKinds, knownOperation, knownWord, other } from '../wire/hook-stats.ts';
import type { HookCounted, HookReport } from '../wire/hook-stats.ts';
import { verdicts } from '../wire/replies.ts';

/** More nodes than any cluster has; the others count as one. */
const maxNodes = 10_000;
/** As for `ctl.seen`: who was not heard for that long is gone. */
const goneMs = 30_000;

export type DecidedBy = 'worker' | 'near-cache';

/** What a node has done with one word of one operation. */
export interface HookCount {
  readonly node: string;
  readonly operation: string;
  /** A verdict, a kind of failure or a fallback, by which of the three it is asked for. */
  readonly word: string;
  readonly count: number;
}

export interface HookState {
  readonly node: string;
  readonly kind: string;
  readonly version: string;
  readonly gauges: NonNullable<HookCounted['gauges']>;
}

/** Sums by node, operation and word. */
class Sums {
  readonly #sums = new Map<string, { node: string; operation: string; word: string; count: number }>();

  add(node: string, operation: string, word: string, count: number): void {
    const key = `${node}\0${operation}\0${word}`;
    const sum = this.#sums.get(key);
    if (sum === undefined) this.#sums.set(key, { node, operation, word, count });
    else sum.count += count;
  }

  all(): Iterable<HookCount> {
    return this.#sums.values();
  }
}

export class HookCounts {
  readonly decided: Readonly<Record<DecidedBy, Sums>> = { worker: new Sums(), 'near-cache': new Sums() };
  readonly failures = new Sums();
  readonly fallbacks = new Sums();
  /** Under the operation `near-cache`: hit, miss, unproved, eviction, gap, clear. */
  readonly nearCache = new Sums();
  readonly reports = { counted: 0, repeated: 0, refused: 0 };
  readonly #clock: Clock;
  readonly #states = new Map<string, HookState & { heardAtMs: number }>();
  readonly #nodes = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds what one report has counted. */
  count({ name, operations, near_cache: near }: HookReport): void {
    const node = this.#node(name);
    for (const [slug, counted] of Object.entries(operations)) {
      const operation = knownOperation(slug);
      const add = (sums: Sums, words: readonly string[], given: Record<string, number> = {}): void => {
        for (const [word, count] of Object.entries(given)) sums.add(node, operation, knownWord(words, word), count);
      };
      add(this.decided.worker, verdicts, counted.verdicts);
      add(this.decided['near-cache'], verdicts, counted.remembered);
      add(this.failures, hookFailures, counted.failures);
      add(this.fallbacks, hookFallbacks, counted.fallbacks);
    }
    const nearCounts = {
      hit: near?.hits,
      miss: near?.misses,
      unproved: near?.unproved,
      eviction: near?.evictions,
      gap: near?.gaps,
      clear: near?.clears,
    };
    for (const [word, count = 0] of Object.entries(nearCounts)) this.nearCache.add(node, 'near-cache', word, count);
  }

  /** A node is there, and this is how it stands; also where another worker has counted its report. */
  heard({ name, kind, version, gauges = {} }: HookCounted): void {
    const node = this.#node(name);
    this.#states.set(node, { node, kind: knownWord(hookKinds, kind), version, gauges, heardAtMs: this.#clock.now() });
  }

  /** The nodes that were heard within the last 30 seconds. */
  states(): HookState[] {
    const nowMs = this.#clock.now();
    for (const [node, { heardAtMs }] of this.#states) if (nowMs - heardAtMs > goneMs) this.#states.delete(node);
    return [...this.#states.values()];
  }

  #node(name: string): string {
    if (this.#nodes.has(name)) return name;
    if (this.#nodes.size >= maxNodes) return other;
    this.#nodes.add(name);
    return name;
  }
}
