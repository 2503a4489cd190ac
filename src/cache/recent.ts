/**
 * What has changed lately, for sources that read from replicas: their answers to a question that a change has just
 * touched may still be the old ones. They are given and not remembered until the replica has had its time (`lag_ms`).
 */
import type { Clock } from '../clock.ts';
import type { ChangeOrder } from './order.ts';
import type { Subject } from './stamps.ts';

/** Changes that come together are one entry: its floor is from before the first, its time that of the last. */
const togetherMs = 20;

export class RecentChanges {
  readonly #order: ChangeOrder;
  readonly #clock: Clock;
  /** The longest time that anyone asks about, in milliseconds; 0 when nobody does. */
  readonly #keepMs: number;
  #entries: { atMs: number; beganAtMs: number; floor: number }[] = [];
  #floor: number;

  constructor(order: ChangeOrder, clock: Clock, keepMs: number) {
    this.#order = order;
    this.#clock = clock;
    this.#keepMs = keepMs;
    this.#floor = order.floorFor(0);
    if (keepMs > 0) order.onApplied(() => this.#note());
  }

  /**
   * In how many whole milliseconds the last change that touches the subject will be more than `lagMs` ago; 0 when it is
   * already, or there was none.
   */
  remainingMs(subject: Subject, lagMs: number): number {
    if (lagMs === 0) return 0;
    const sinceMs = this.#clock.now() - lagMs;
    const { stamps } = this.#order;
    const first = this.#entries.find(({ atMs }) => atMs >= sinceMs);
    if (first === undefined || stamps.allow(first.floor, subject)) return 0;
    const last = this.#entries.findLast(({ floor }) => !stamps.allow(floor, subject));
    return Math.floor((last ?? first).atMs - sinceMs) + 1;
  }

  #note(): void {
    const nowMs = this.#clock.now();
    const last = this.#entries.at(-1);
    if (last !== undefined && nowMs - last.beganAtMs < togetherMs) last.atMs = nowMs;
    else this.#entries.push({ atMs: nowMs, beganAtMs: nowMs, floor: this.#floor });
    this.#floor = this.#order.floorFor(0);
    const keptFrom = this.#entries.findIndex(({ atMs }) => atMs >= nowMs - this.#keepMs);
    if (keptFrom > 0) this.#entries = this.#entries.slice(keptFrom);
  }
}
