/** How long an asker is worked for: shortly less than he listens, and not when the worker stops. */
import type { Clock } from '../clock.ts';
import { SourceUnavailable } from '../sources/source.ts';
import { reserveMs } from './deadline.ts';
import type { Ask } from './ask.ts';

export interface Patience {
  /** Aborted when it ends. */
  readonly signal: AbortSignal;
  release(): void;
}

export function startPatience({ askedAtMs, deadlineMs }: Ask, stopping: AbortSignal, clock: Clock): Patience {
  const controller = new AbortController();
  const end = () => controller.abort();
  if (stopping.aborted) end();
  stopping.addEventListener('abort', end);
  const endMs = deadlineMs - reserveMs(deadlineMs - askedAtMs) - clock.now();
  // A timer takes no infinite time: it would fire at once.
  const timer = Number.isFinite(endMs) ? setTimeout(end, Math.max(0, endMs)) : undefined;
  return {
    signal: controller.signal,
    release: () => {
      clearTimeout(timer);
      stopping.removeEventListener('abort', end);
    },
  };
}

/**
 * The outcome of work that an asker waits for, or `SourceUnavailable` when his patience ends. The work itself goes on: its
 * answer is remembered for the next who asks.
 */
export function whilePatient<T>(work: Promise<T>, patience: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(new SourceUnavailable('timeout', 'no answer within the budget of the asker'));
    if (patience.aborted) end();
    patience.addEventListener('abort', end, { once: true });
    work.then(resolve, reject).finally(() => patience.removeEventListener('abort', end));
  });
}
