/** Time, injected everywhere so that tests advance it instead of waiting. */

export interface Clock {
  /** Milliseconds since an arbitrary moment; never goes back. The only time that deadlines and ages are made of. */
  now(): number;
}

export const monotonicClock: Clock = { now: () => performance.now() };
