/** What `warder dev` prints while it runs: a line a decision, and the worker's log in words. */
import type { Config } from '../config/schema.ts';
import type { Answered } from '../nats/serve.ts';
import { domainOf, toldOf } from '../nats/watched.ts';
import { decisionLine, timeOf } from './decision-line.ts';
import { printable } from './terminal.ts';
import type { Paint } from './terminal.ts';

export function answeredLine(answered: Answered, operations: Config['operations'], paint: Paint, now: Date): string {
  const { operation, request } = answered;
  const sources: Record<string, { readonly source: string } | undefined> = operations[operation].sources;
  const source = (sources[domainOf(operation, request)] ?? sources['*'])?.source;
  return decisionLine(toldOf(answered, source), now, paint);
}

/** An event of the worker's log, as it was written: one line of JSON. Undefined for what only repeats other lines. */
export function logLine(json: string, paint: Paint): string | undefined {
  const event = JSON.parse(json) as Record<string, unknown>;
  const { level, time, msg, ...rest } = event;
  // Of what goes well only the sources' own news is worth a line here, unless somebody asks for everything.
  if (level === 30 && !('source' in rest)) return undefined;
  const word = Number(level) >= 50 ? paint('red', 'error') : Number(level) >= 40 ? paint('yellow', 'warning') : 'note';
  const details = Object.entries(rest).map(([key, value]) => `${key} ${wordsOf(value)}`);
  const text = [String(msg), ...details].join(', ');
  return `${paint('dim', timeOf(new Date(String(time))))} ${word}: ${printable(text)}`;
}

function wordsOf(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
