/** A refresh that an application pushes over HTTP: it has all the time that its users take. */
import type { Parts } from './ask.ts';
import { refreshUsers } from './refresh-users.ts';
import { summaryOf } from './roster-refresh.ts';

export interface PushedRefresh extends ReturnType<typeof summaryOf> {
  /** Why not, by bare JID, or by what was given where it is none. */
  readonly failed: Readonly<Record<string, string>>;
}

/**
 * Ends because each call to a source does, and because publishing ends when nothing is acknowledged.
 * @param host completes user names
 */
export async function refreshPushed(
  users: readonly string[],
  host: string | undefined,
  parts: Parts,
): Promise<PushedRefresh> {
  const ask = { askedAtMs: parts.clock.now(), deadlineMs: Infinity };
  const refreshed = await refreshUsers({ users, host, reason: 'admin', minSeq: 0, maxBytes: 0 }, ask, parts);
  return { ...summaryOf(refreshed), failed: Object.fromEntries(refreshed.failed) };
}
