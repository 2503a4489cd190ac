/** What one operation's endpoint has done, in plain numbers that cost nothing until somebody asks. */
import { failureKinds } from '../failures.ts';
import type { FailureKind } from '../failures.ts';
import { LatencyHistogram } from '../observe/histogram.ts';

export interface OperationStats {
  /** Its count is the number of requests answered, its sum the time they took. */
  readonly latency: LatencyHistogram;
  readonly failures: Record<FailureKind, number>;
  lastError: string;
}

export function createOperationStats(): OperationStats {
  return {
    latency: new LatencyHistogram(),
    failures: Object.fromEntries(failureKinds.map((kind) => [kind, 0])) as Record<FailureKind, number>,
    lastError: '',
  };
}
