/**
 * The places for calls of a source, so many at once, and the queue of those that wait for one. Nobody is let wait who
 * could not be answered in time: work that comes too late would take the place of work that does not, until under load
 * hardly any comes in time. Knows nothing of what is done in the places.
 */

/** Who wants a place. */
export interface Waiter {
  /** Aborted when it is not wanted any more; then it stands in nobody's way. */
  readonly signal: AbortSignal;
  /** Until when the answer is of use, on the clock of this queue; asked again when it is his turn. */
  readonly untilMs: () => number;
}

/** There is no place, or there would be none in time. `message` is for the log. */
export class NoPlace extends Error {}

interface Waiting extends Waiter {
  readonly enter: () => void;
  readonly refuse: (reason: unknown) => void;
}

/** How much the latest call counts in how long calls take. */
const smoothing = 1 / 16;

export class CallQueue {
  readonly max: number;
  readonly #maxQueued: number;
  readonly #now: () => number;
  readonly #waiting = new Set<Waiting>();
  #inFlight = 0;
  /** How long a call holds its place, smoothed, in milliseconds; 0: none has ended yet. */
  #holdMs = 0;

  /** @param now the monotonic clock, in milliseconds */
  constructor(max: number, maxQueued: number, now: () => number) {
    this.max = max;
    this.#maxQueued = maxQueued;
    this.#now = now;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * Does the work in a place, at once where one is free, whatever is known of how long it takes: that has to be found out
   * again, and what comes too late for its asker is remembered for the next.
   * @throws NoPlace when too many wait already or the answer would come too late; the reason of the signal
   */
  async run<T>(work: () => Promise<T>, waiter: Waiter): Promise<T> {
    waiter.signal.throwIfAborted();
    if (this.#inFlight < this.max) this.#inFlight += 1;
    else await this.#place(waiter);
    const beganMs = this.#now();
    try {
      return await work();
    } finally {
      const heldMs = this.#now() - beganMs;
      this.#holdMs += (heldMs - this.#holdMs) * (this.#holdMs === 0 ? 1 : smoothing);
      this.#leave();
    }
  }

  #place(waiter: Waiter): Promise<void> {
    const ahead = this.#waiting.size;
    if (ahead >= this.#maxQueued) return Promise.reject(new NoPlace(`${ahead} calls are waiting`));
    if (!this.#isInTime(waiter, (this.#holdMs * (ahead + 1)) / this.max)) {
      return Promise.reject(new NoPlace(`${ahead} calls are waiting, too many for an answer in time`));
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(waiting);
        waiter.signal.removeEventListener('abort', abandon);
      };
      const waiting: Waiting = {
        ...waiter,
        enter: () => (leave(), resolve()),
        refuse: (reason) => (leave(), reject(reason)),
      };
      const abandon = () => waiting.refuse(waiter.signal.reason);
      waiter.signal.addEventListener('abort', abandon, { once: true });
      this.#waiting.add(waiting);
    });
  }

  /** Whether a call that begins after so long would be answered in time, as calls usually are. */
  #isInTime({ untilMs }: Waiter, waitMs: number): boolean {
    return this.#now() + waitMs + this.#holdMs <= untilMs();
  }

  /** The place goes to who has waited longest and still has time. */
  #leave(): void {
    for (const next of this.#waiting) {
      if (this.#isInTime(next, 0)) {
        next.enter();
        return;
      }
      next.refuse(new NoPlace('no place in time'));
    }
    this.#inFlight -= 1;
  }
}
