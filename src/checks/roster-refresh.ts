/** What do these rosters hold? Or: they have changed. The reply fits the broker's usual message, whatever is asked. */
import type { RosterReply } from '../wire/replies.ts';
import type { RosterRefresh } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { freshnessOf } from './freshness.ts';
import { refreshUsers } from './refresh-users.ts';
import type { Refreshed } from './refresh-users.ts';

/** Leaves room under the broker's usual 1 MiB `max_payload` for the envelope and for JSON's escapes. */
const maxReplyBytes = 768 * 1024;

/** What an entry of `failed` takes beside its user, for the usual texts. */
const failedEntryBytes = 24;

export async function refreshRosters(request: RosterRefresh, ask: Ask, parts: Parts): Promise<RosterReply> {
  const { id, users, reason, min_seq, traceparent } = request;
  const namesBytes = users.reduce((sum, user) => sum + Buffer.byteLength(user) + failedEntryBytes, 0);
  const maxBytes = maxReplyBytes - namesBytes;
  const refreshed = await refreshUsers({ users, reason, minSeq: min_seq, traceparent, maxBytes }, ask, parts);
  const { rosters, failed, againMs } = refreshed;
  return {
    v: 1,
    id,
    ...freshnessOf(refreshed, parts.order, ask.askedAtMs),
    ...summaryOf(refreshed),
    rosters: Object.fromEntries(rosters),
    failed: Object.fromEntries(failedThatFit(failed)),
    ...(againMs > 0 && { again_ms: againMs }),
  };
}

/** What mod_http_roster_admin answers, with the same words; its `status` is `error` when nobody's roster could be had. */
export function summaryOf({ allFailed, updated, failed }: Refreshed) {
  return {
    status: allFailed ? ('error' as const) : ('ok' as const),
    message: allFailed ? 'no roster could be had' : 'roster update complete',
    updated,
    errors: failed.size,
  };
}

/** The rest is counted all the same. */
function* failedThatFit(failed: ReadonlyMap<string, string>): Generator<[string, string]> {
  let bytes = 0;
  for (const [user, text] of failed) {
    bytes += Buffer.byteLength(user) + Buffer.byteLength(text) + 8;
    if (bytes > maxReplyBytes) return;
    yield [user, text];
  }
}
