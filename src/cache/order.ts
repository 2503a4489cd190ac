/**
 * The order of changes as this process knows it, and what is remembered because of it.
 *
 * The broker numbers every change; `seen` is the highest number applied and never goes down. A change stamps what it
 * names with its number, and what is remembered is good while its floor (the `seen` at the beginning of its lookup) is
 * at least as high as every stamp that touches it.
 *
 *   next number           apply it
 *   a higher one          something was missed: clear all; `seen` is now that number
 *   one that is not       apply it; if it is lower, the order itself is in doubt: clear all
 *   heard without number  before the broker has numbered it: drop what it names at once, `seen` stays. During an
 *                         election of the broker's cluster this is all there is
 *   connected anew        clear all, and store nothing until the first number has come
 *
 * A clear is the stamp `all`. What arrives without a number, or puts the order in doubt, stamps one more than the floor of
 * anything that is remembered or being looked up at this moment: none of it is served again.
 *
 * Without JetStream nothing is numbered by the broker: this process counts what it hears by itself. That count means
 * nothing to anyone else and is no part of `seen`.
 */
import type { Change } from '../changes.ts';
import { Stamps } from './stamps.ts';

/** Bounds the memory of the stamps at about 100 MB. */
const maxStamps = 1_000_000;

export type Ordering = 'numbered' | 'counted';

export class ChangeOrder {
  readonly stamps = new Stamps(maxStamps);
  /** Plain numbers, read when the metrics are scraped. */
  readonly counts = { applied: 0, gaps: 0, clears: 0 };
  readonly #listeners: ((change: Change | undefined) => void)[] = [];
  #seen = 0;
  /** Changes heard where the broker numbers none. */
  #counted = 0;
  #acknowledged = 0;
  #ordering: Ordering = 'counted';
  #settled = true;

  get seen(): number {
    return this.#seen;
  }

  get ordering(): Ordering {
    return this.#ordering;
  }

  /** Whether anything may be stored: not between a new connection and the first number that it brings. */
  get isSettled(): boolean {
    return this.#settled;
  }

  /**
   * The floor of a lookup that begins now for an asker who has seen `minSeq`. What the stream has never acknowledged is
   * no number of ours, whatever an asker says.
   */
  floorFor(minSeq: number): number {
    return Math.max(this.#seen + this.#counted, Math.min(minSeq, this.#acknowledged));
  }

  /** Called after each number applied, with its change if it carried one, and after each change heard without number. */
  onApplied(listener: (change: Change | undefined) => void): void {
    this.#listeners.push(listener);
  }

  /** A change with its number in the stream; without a change it only moves the order on. */
  apply(sequence: number, change: Change | undefined): void {
    const isFirst = !this.#settled || this.#counted > 0;
    const highestFloor = this.#highestFloor;
    const before = this.#seen;
    this.#settled = true;
    this.#counted = 0;
    this.#seen = Math.max(before, sequence);
    this.acknowledge(sequence);
    if (isFirst) this.#clear(sequence > highestFloor ? sequence : highestFloor + 1);
    else if (sequence > before + 1) {
      this.counts.gaps += 1;
      this.#clear(sequence);
    } else if (sequence < before) this.#clear(highestFloor + 1);
    else if (change !== undefined) this.stamps.set(change, sequence);
    if (change !== undefined) this.counts.applied += 1;
    this.#tell(change);
  }

  /** A change that has no number, yet or ever. */
  hear(change: Change): void {
    this.stamps.set(change, this.#highestFloor + 1);
    if (this.#ordering === 'counted') {
      this.#counted += 1;
      this.counts.applied += 1;
    }
    this.#tell(change);
  }

  /** The stream has given out this number. */
  acknowledge(sequence: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, sequence);
  }

  /** The connection was made, for the first time or again: nobody knows what was missed. */
  connected(ordering: Ordering): void {
    this.#ordering = ordering;
    this.#clear(this.#highestFloor + 1);
    if (ordering === 'counted') this.#counted += 1;
    this.#settled = ordering === 'counted';
  }

  /** No lookup that has begun so far has a floor above this. */
  get #highestFloor(): number {
    return Math.max(this.#seen + this.#counted, this.#acknowledged);
  }

  #tell(change: Change | undefined): void {
    for (const listener of this.#listeners) listener(change);
  }

  #clear(sequence: number): void {
    this.counts.clears += 1;
    this.stamps.set({ all: true }, sequence);
  }
}
