/** What a check is given beside its request: the asker's limits, and the parts of the worker that it may use. */
import type { Logger } from 'pino';
import type { Decisions } from '../cache/decisions.ts';
import type { ChangeOrder } from '../cache/order.ts';
import type { Proof } from '../cache/proof.ts';
import type { Rosters } from '../cache/rosters.ts';
import type { Routes } from '../cache/routes.ts';
import type { Change } from '../changes.ts';
import type { Clock } from '../clock.ts';

/** When the asker stops listening. */
export interface Ask {
  /** When the request was read, on the monotonic clock in milliseconds. */
  readonly askedAtMs: number;
  /** On the monotonic clock, in milliseconds. */
  readonly deadlineMs: number;
}

export interface Parts {
  readonly routes: Routes;
  readonly decisions: Decisions;
  readonly rosters: Rosters;
  readonly order: ChangeOrder;
  readonly proof: Proof;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted when the worker stops. */
  readonly stopping: AbortSignal;
  /** Makes a change known to everyone who remembers. Resolves to its number once it has one; 0 without JetStream. */
  readonly publish: (change: Change, reason: string, signal?: AbortSignal) => Promise<number>;
}
