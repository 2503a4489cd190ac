/**
 * What do these rosters hold? Every user gets a roster or a text that says why not; one bad user never costs the others
 * their answer. A login takes what is remembered, a change never does.
 */
import type { FailureKind } from '../failures.ts';
import { SourceUnavailable } from '../sources/source.ts';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import type { Jid } from '../wire/jid.ts';
import type { Roster, RosterReply } from '../wire/replies.ts';
import type { RosterRefresh } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { beforeDeadline } from './deadline.ts';
import { freshnessOf } from './freshness.ts';
import { logUnavailable } from './unavailable.ts';

/** How many users of one request are looked up at once; the source's own bulkhead bounds what all requests do. */
const concurrency = 16;

/** Leaves room under the broker's usual 1 MiB `max_payload` for the envelope and for JSON's escapes. */
const maxReplyBytes = 768 * 1024;

type Outcome = { roster: Roster; floor: number; provedAtMs: number; fetched: boolean } | { failed: string };

export async function refreshRosters(request: RosterRefresh, ask: Ask, parts: Parts): Promise<RosterReply> {
  const rosters: Record<string, Roster> = {};
  const failed: Record<string, string> = {};
  let updated = 0;
  let bytes = 0;
  let { seen: floor } = parts.order;
  let { provedAtMs } = parts.proof;
  for (const [user, outcome] of await outcomesOf([...new Set(request.users)], request, ask, parts)) {
    if ('failed' in outcome) {
      failed[user] = outcome.failed;
      continue;
    }
    bytes += Buffer.byteLength(JSON.stringify(outcome.roster)) + user.length;
    if (bytes > maxReplyBytes && Object.keys(rosters).length > 0) {
      failed[user] = 'too-large';
      continue;
    }
    rosters[user] = outcome.roster;
    // The reply knows no more than its least rosters do.
    floor = Math.min(floor, outcome.floor);
    provedAtMs = Math.min(provedAtMs, outcome.provedAtMs);
    if (outcome.fetched) updated += 1;
  }
  const errors = Object.keys(failed).length;
  const allFailed = errors > 0 && Object.keys(rosters).length === 0;
  return {
    v: 1,
    id: request.id,
    ...freshnessOf({ floor, provedAtMs }, parts.order, ask.askedAtMs),
    status: allFailed ? 'error' : 'ok',
    message: allFailed ? 'no roster could be had' : 'roster update complete',
    updated,
    errors,
    rosters,
    failed,
  };
}

/** By the bare JID in its normal form; by what was given where it has none. */
async function outcomesOf(users: readonly string[], request: RosterRefresh, ask: Ask, parts: Parts) {
  const outcomes = new Map<string, Outcome>();
  const waiting = users.values();
  const work = async () => {
    for (const text of waiting) {
      const [user, outcome] = await outcomeOf(text, request, ask, parts);
      outcomes.set(user, outcome);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, users.length) }, work));
  return outcomes;
}

async function outcomeOf(text: string, request: RosterRefresh, ask: Ask, parts: Parts): Promise<[string, Outcome]> {
  let user: Jid;
  try {
    user = parseBareJid(text);
  } catch (error) {
    if (error instanceof InvalidJid) return [text, { failed: error.message }];
    throw error;
  }
  const route = parts.routes.of('roster-refresh', user.domain);
  if (route === undefined) return [user.bare, { failed: `no source is configured for rosters of ${user.domain}` }];
  const known = request.reason === 'login' ? parts.rosters.recall(user, route, request.min_seq) : undefined;
  if (known !== undefined) return [user.bare, { ...known, fetched: false }];
  try {
    const { min_seq, traceparent } = request;
    const flight = parts.rosters.fetch(user, route, min_seq, { signal: parts.stopping, traceparent });
    const { roster, floor, provedAtMs, problems } = await beforeDeadline(flight, ask.deadlineMs, parts.clock);
    for (const problem of problems)
      parts.log.warn({ source: route.source.name, user: user.bare, ...problem }, 'contact left out');
    return [user.bare, { roster, floor, provedAtMs, fetched: true }];
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) throw error;
    logUnavailable(error, route, parts);
    const expired = route.fallback === 'stale' ? parts.rosters.recallExpired(user, route) : undefined;
    if (expired !== undefined) return [user.bare, { ...expired, fetched: false }];
    return [user.bare, { failed: 'source-unavailable' satisfies FailureKind }];
  }
}
