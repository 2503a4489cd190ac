/** What every reply says about its freshness: the sequence that it knows, and how old the proof of that is. */
import type { ChangeOrder } from '../cache/order.ts';
import type { ReplyEnvelope } from '../wire/replies.ts';

/** Older than any bound that an operator would choose: nothing is proved. */
const unprovedAgeMs = 1e9;

/**
 * The age is counted at the moment of asking and not of answering: the asker dates the proof by his own question, and
 * what happened during a lookup is not in its answer.
 *
 * Where no stream numbers the changes, `seq` is 0: this process's own count means nothing to anyone else.
 */
export function freshnessOf(
  known: { readonly floor: number; readonly provedAtMs: number },
  order: ChangeOrder,
  askedAtMs: number,
): Pick<ReplyEnvelope, 'seq' | 'age_ms'> {
  if (order.ordering === 'counted') return { seq: 0, age_ms: 0 };
  const ageMs = Math.max(0, Math.ceil(askedAtMs - known.provedAtMs));
  return { seq: known.floor, age_ms: Math.min(ageMs, unprovedAgeMs) };
}
