/** Waiting no longer than the asker does. */
import type { Clock } from '../clock.ts';
import { SourceUnavailable } from '../sources/source.ts';

/** What is kept back of the remaining time so that the reply still arrives in it: a tenth, at least 5 and at most 50 ms. */
export function reserveMs(remainingMs: number): number {
  return Math.min(50, Math.max(5, remainingMs / 10));
}

/** When an answer is in time for an asker whose deadline this is; both on the monotonic clock, in milliseconds. */
export function inTimeMs(deadlineMs: number, nowMs: number): number {
  return deadlineMs - reserveMs(deadlineMs - nowMs);
}

/**
 * The promise's outcome, or `SourceUnavailable` shortly before the deadline. The work itself goes on: its answer is
 * remembered for the next who asks.
 */
export function beforeDeadline<T>(work: Promise<T>, deadlineMs: number, clock: Clock): Promise<T> {
  const nowMs = clock.now();
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new SourceUnavailable('timeout', 'no answer within the budget of the asker')),
      Math.max(0, inTimeMs(deadlineMs, nowMs) - nowMs),
    );
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
