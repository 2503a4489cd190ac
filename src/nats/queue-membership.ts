/**
 * Whether this worker takes part in the queue group. A member whose event loop lags keeps its share of the requests and
 * answers them late or not at all; out of the group it costs nobody anything. Decides by what is told about the event
 * loop; knows neither subscriptions nor requests.
 *
 * It leaves only while another worker says that it takes part, and comes back when nobody does: late answers are better
 * than nobody's. It comes back as well when it has been out for a while and lags on, and then stays for as long: whatever
 * makes all workers lag takes each of them away for half of the time at most, and never all that know of each other.
 */
import type { Clock } from '../clock.ts';

/** Over how long it is looked whether the loop stood still. */
const windowMs = 1_000;
/** For how long the loop has to run without a stall before the worker comes back. */
const recoveredMs = 1_000;
const longestAwayMs = 5_000;
/** For how long it stays once it is back, whatever its lag. */
const shortestStayMs = 5_000;

export interface QueueMembershipOptions {
  readonly clock: Clock;
  /** For how long the loop may stand still within a second, in milliseconds; 0: for ever. */
  readonly maxLagMs: number;
  /** Whether another worker takes part in the group, as far as is known. */
  readonly othersServe: () => boolean;
  readonly leave: () => void;
  readonly join: () => void;
}

export class QueueMembership {
  readonly #options: QueueMembershipOptions;
  #stalls: { readonly atMs: number; readonly stalledMs: number }[] = [];
  #isMember = true;
  /** Since when it is what it is now: a member or none. */
  #sinceMs = -Infinity;
  #isStopped = false;
  leaves = 0;

  constructor(options: QueueMembershipOptions) {
    this.#options = options;
  }

  get isMember(): boolean {
    return this.#isMember;
  }

  /** @param stalledMs for how long the loop has stood still just now; 0: it runs */
  looped(stalledMs: number): void {
    const { clock, maxLagMs, othersServe } = this.#options;
    if (maxLagMs === 0 || this.#isStopped) return;
    const nowMs = clock.now();
    if (stalledMs > 0) this.#stalls.push({ atMs: nowMs, stalledMs });
    const sinceMs = nowMs - this.#sinceMs;
    if (this.#isMember) {
      this.#stalls = this.#stalls.filter(({ atMs }) => nowMs - atMs < windowMs);
      const lagMs = this.#stalls.reduce((sum, stall) => sum + stall.stalledMs, 0);
      if (lagMs >= maxLagMs && sinceMs >= shortestStayMs && othersServe()) this.#change(false, nowMs);
      return;
    }
    const isRecovered = nowMs - (this.#stalls.at(-1)?.atMs ?? -Infinity) >= recoveredMs;
    if (isRecovered || sinceMs >= longestAwayMs || !othersServe()) this.#change(true, nowMs);
  }

  /** Nothing is decided any more. */
  stop(): void {
    this.#isStopped = true;
  }

  #change(isMember: boolean, nowMs: number): void {
    this.#isMember = isMember;
    this.#sinceMs = nowMs;
    if (isMember) {
      this.#stalls = [];
      this.#options.join();
    } else {
      this.leaves += 1;
      this.#options.leave();
    }
  }
}
