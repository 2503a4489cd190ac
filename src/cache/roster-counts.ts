/** What became of the users whose rosters were asked for, in plain numbers that are read when the metrics are scraped. */

export const refreshReasons = ['login', 'changed', 'admin'] as const;
export type RefreshReason = (typeof refreshReasons)[number];

export const refreshOutcomes = [
  /** The source has answered. */
  'fetched',
  /** What was remembered is as good as the source's answer. */
  'remembered',
  /** What was remembered and is too old: the configured fallback of a source that failed. */
  'stale',
  'source-unavailable',
  'no-source',
  'no-user',
  /** No stream took the news of the change. */
  'not-published',
  /** The budget ended before this user's turn. */
  'expired',
  /** A mistake of ours, in the log. */
  'internal',
] as const;
export type RefreshOutcome = (typeof refreshOutcomes)[number];

export class RosterCounts {
  readonly #counts = new Map<string, { reason: RefreshReason; outcome: RefreshOutcome; count: number }>();

  constructor() {
    for (const reason of refreshReasons) {
      for (const outcome of refreshOutcomes) this.#counts.set(`${reason} ${outcome}`, { reason, outcome, count: 0 });
    }
  }

  add(reason: RefreshReason, outcome: RefreshOutcome): void {
    const entry = this.#counts.get(`${reason} ${outcome}`);
    if (entry !== undefined) entry.count += 1;
  }

  all(): Iterable<{ readonly reason: RefreshReason; readonly outcome: RefreshOutcome; readonly count: number }> {
    return this.#counts.values();
  }
}
