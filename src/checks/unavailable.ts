/** What it means that a source did not answer: for the asker, and in the log, with one line a call that failed. */
import type { Route } from '../cache/routes.ts';
import type { FailureKind } from '../failures.ts';
import type { SourceUnavailable } from '../sources/source.ts';
import type { Parts } from './ask.ts';

/**
 * While the breaker is open or the bulkhead full every request fails, thousands in a second: those stay in the metrics
 * (and in the log at `debug`), or the log would be what brings the worker down.
 */
export function logUnavailable({ outcome, message }: SourceUnavailable, { source }: Route, { log }: Parts): void {
  const level = outcome === 'breaker-open' || outcome === 'bulkhead-full' ? 'debug' : 'warn';
  log[level]({ source: source.name, outcome, detail: message }, 'source unavailable');
}

/** It was never asked where there was no place for one call more: that is this worker's load, and no fault of the source. */
export function failureKindOf({ outcome }: SourceUnavailable): FailureKind {
  return outcome === 'bulkhead-full' ? 'overloaded' : 'source-unavailable';
}
