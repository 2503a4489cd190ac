/** How long an asker is worked for: shortly less than he listens, and not when the worker stops. */
import type { Clock } from '../clock.ts';
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
