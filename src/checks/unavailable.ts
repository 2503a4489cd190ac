/** What the log says when a source did not answer: one line a call that failed, and none for those that were never made. */
import type { Route } from '../cache/routes.ts';
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
