/** Time that moves when a test says so. */
import type { Clock } from '../src/clock.ts';

export class ManualClock implements Clock {
  #nowMs = 1_000_000;

  now(): number {
    return this.#nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }
}
