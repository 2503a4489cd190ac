/**
 * Says of many users at once that their rosters have changed, and waits for the numbers of these changes. The roster that
 * is looked up by its number is newer than whatever made the application say so.
 */
import type { Jid } from '../wire/jid.ts';
import type { Parts } from './ask.ts';
import { inTurn } from './in-turn.ts';

/** Why these changes are published, for who looks on. */
export const refreshWord = 'roster-refresh';

/** How many publications wait for their acknowledgement at once. */
const concurrency = 64;

/** Without any acknowledgement for this long the stream is away: the rest is not tried. */
const quietMs = 5_000;

/**
 * Ends when all are acknowledged, when the asker's patience ends, or when no acknowledgement has come for five seconds.
 * @returns the number of each change that was acknowledged, by bare JID; 0 without JetStream
 */
export async function announceRosters(
  users: readonly Jid[],
  { publish, log }: Parts,
  patience: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const tokens = new Map<string, number>();
  const quiet = new AbortController();
  const giveUp = () => quiet.abort(new Error('the stream does not acknowledge'));
  const timer = setTimeout(giveUp, quietMs);
  const over = new Promise<undefined>((resolve) => {
    for (const signal of [quiet.signal, patience]) signal.addEventListener('abort', () => resolve(undefined));
  });
  const signal = AbortSignal.any([quiet.signal, patience]);
  await inTurn(users, concurrency, async ({ bare }) => {
    if (signal.aborted) return;
    try {
      const token = await Promise.race([publish({ user: bare }, refreshWord, signal), over]);
      if (token === undefined) return;
      tokens.set(bare, token);
      timer.refresh();
    } catch (error) {
      log.debug({ user: bare, detail: String(error) }, 'change not published');
    }
  });
  clearTimeout(timer);
  return tokens;
}
