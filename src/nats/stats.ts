/** What one operation's endpoint has done, in plain numbers that cost nothing until somebody asks. */
import { failureKinds } from '../failures.ts';
import type { FailureKind } from '../failures.ts';
import { LatencyHistogram } from '../observe/histogram.ts';

export type ShedReason = 'overloaded' | 'expired';

export interface OperationStats {
  /** Its count is the number of requests answered, its sum the time they took. */
  readonly latency: LatencyHistogram;
  readonly failures: Record<FailureKind, number>;
  /** Requests that were not begun: there were too many, or their budget had passed already. */
  readonly shed: Record<ShedReason, number>;
  lastError: string;
}

export function createOperationStats(): OperationStats {
  return {
    latency: new LatencyHistogram(),
    failures: Object.fromEntries(failureKinds.map((kind) => [kind, 0])) as Record<FailureKind, number>,
    shed: { overloaded: 0, expired: 0 },
    lastError: '',
  };
}
