/**
 * What is remembered, and until when.
 *
 * An entry lives from the beginning of the lookup that made it until its TTL is over. It is served while it lives and
 * while no change since its floor touches it (see `Stamps`); an invalidation therefore costs the same whatever is
 * remembered, and needs no search. An entry that outlived its TTL stays until it is evicted, for the fallback `stale`;
 * an invalidated one is never served again. The oldest used entry makes room when the bound is reached.
 *
 * A lookup that began before a change and ends after it stores what no later hit accepts: its floor is too low. It does
 * not replace an entry with a higher floor.
 */
import { LRUCache } from 'lru-cache';
import type { ChangeOrder } from './order.ts';
import type { Subject } from './stamps.ts';

export interface Entry<V> {
  readonly value: V;
  /** The sequence of changes that the value knows. */
  readonly floor: number;
  /** On the monotonic clock, in milliseconds. */
  readonly expiresAtMs: number;
}

export class Memory<V> {
  readonly #entries: LRUCache<string, Entry<V>>;
  readonly #order: ChangeOrder;
  /** Plain numbers, read when the metrics are scraped. */
  readonly counts = { hits: 0, misses: 0, evictions: 0 };

  constructor(maxEntries: number, order: ChangeOrder) {
    this.#order = order;
    this.#entries = new LRUCache({
      max: maxEntries,
      dispose: (_entry, _key, reason) => {
        if (reason === 'evict') this.counts.evictions += 1;
      },
    });
  }

  get size(): number {
    return this.#entries.size;
  }

  get max(): number {
    return this.#entries.max;
  }

  /** A living entry that no change has touched. `subjectOf` is asked only when some change is newer than the entry. */
  recall<Q>(key: string, question: Q, subjectOf: (question: Q) => Subject, nowMs: number): Entry<V> | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || nowMs >= entry.expiresAtMs || !this.#untouched(entry, question, subjectOf)) {
      return undefined;
    }
    return entry;
  }

  /** The entry whatever its age, unless a change has touched it. */
  recallExpired<Q>(key: string, question: Q, subjectOf: (question: Q) => Subject): Entry<V> | undefined {
    const entry = this.#entries.peek(key);
    return entry !== undefined && this.#untouched(entry, question, subjectOf) ? entry : undefined;
  }

  remember(key: string, entry: Entry<V>): void {
    const known = this.#entries.peek(key);
    if (known === undefined || known.floor <= entry.floor) this.#entries.set(key, entry);
  }

  #untouched<Q>(entry: Entry<V>, question: Q, subjectOf: (question: Q) => Subject): boolean {
    const { stamps } = this.#order;
    return entry.floor >= stamps.newest || stamps.allow(entry.floor, subjectOf(question));
  }
}
