/**
 * The proof that what is remembered is fresh. Silence proves nothing, and neither does asking the stream about itself: a
 * leader that is cut off goes on answering with old numbers. So the worker publishes a tick into the stream. Its
 * acknowledgement N proves what is remembered fresh as of the moment at which the tick was *sent*, once N has been seen:
 * everything that the stream had taken before is then applied here.
 *
 * Whether a proof is recent enough is compared with the clock at every hit. There is no timer that could fire late: a
 * stopped process, a backlogged connection, a partition and a lost subscription are all the same rule.
 */
import type { Clock } from '../clock.ts';
import type { ChangeOrder } from './order.ts';

interface Acknowledged {
  readonly sequence: number;
  readonly sentAtMs: number;
}

export class Proof {
  readonly #order: ChangeOrder;
  readonly #clock: Clock;
  /** Milliseconds after which what is remembered is not served without a newer proof. */
  readonly boundMs: number;
  #waiting: Acknowledged[] = [];
  #provedAtMs = -Infinity;

  constructor(order: ChangeOrder, clock: Clock, boundMs: number) {
    this.#order = order;
    this.#clock = clock;
    this.boundMs = boundMs;
    order.onApplied(() => this.#settle());
  }

  /** A tick that was sent at `sentAtMs` got this number. */
  acknowledge(sequence: number, sentAtMs: number): void {
    this.#order.acknowledge(sequence);
    this.#waiting.push({ sequence, sentAtMs });
    this.#settle();
  }

  /** The moment as of which everything remembered is known to be fresh, on the monotonic clock. */
  get provedAtMs(): number {
    // Where this process counts by itself there is nothing to prove: the bound is the time to live.
    return this.#order.ordering === 'counted' ? this.#clock.now() : this.#provedAtMs;
  }

  /** Milliseconds since that moment; Infinity before the first proof. */
  get ageMs(): number {
    return this.#clock.now() - this.provedAtMs;
  }

  /**
   * @param nowMs the clock, for who has just read it: a reading costs as much as a look into a map
   * @param graceMs milliseconds beyond the bound that an operator has chosen to put up with
   */
  isRecent(nowMs = this.#clock.now(), graceMs = 0): boolean {
    return nowMs - this.provedAtMs <= this.boundMs + graceMs;
  }

  #settle(): void {
    const reached = this.#waiting.filter(({ sequence }) => sequence <= this.#order.seen);
    if (reached.length === 0) return;
    this.#waiting = this.#waiting.filter(({ sequence }) => sequence > this.#order.seen);
    for (const { sentAtMs } of reached) this.#provedAtMs = Math.max(this.#provedAtMs, sentAtMs);
  }
}
