/**
 * The roster of one user: from memory where that is as good as the source's answer, else from the source, else what its
 * fallback says. Never throws: one bad user must not cost the others their answer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RefreshOutcome, RefreshReason } from '../cache/roster-counts.ts';
import type { FetchedRoster, FoundRoster } from '../cache/rosters.ts';
import type { Route } from '../cache/routes.ts';
import { SourceUnavailable } from '../sources/source.ts';
import type { Jid } from '../wire/jid.ts';
import type { Parts } from './ask.ts';
import { whilePatient } from './patience.ts';
import { logUnavailable } from './unavailable.ts';

export interface RosterAsk {
  readonly reason: RefreshReason;
  readonly minSeq: number;
  /** Ends when nobody wants the answer any longer: what waits for its turn then is not asked. */
  readonly patience: AbortSignal;
  readonly traceparent: string | undefined;
}

type Had = Extract<RefreshOutcome, 'fetched' | 'remembered' | 'stale'>;

export type RosterOutcome =
  | (FoundRoster & { readonly outcome: Had; readonly lagsMs: number })
  | { readonly outcome: Exclude<RefreshOutcome, Had>; readonly text: string };

/** How often a refresh asks again where others fill the source's queue, and after how long. */
const crowdedAttempts = 5;
const crowdedMs = 200;

export async function lookUpRoster(user: Jid, ask: RosterAsk, parts: Parts): Promise<RosterOutcome> {
  const { rosters, routes } = parts;
  const route = routes.of('roster-refresh', user.domain);
  if (route === undefined) {
    return { outcome: 'no-source', text: `no source is configured for rosters of ${user.domain}` };
  }
  const known = mayRemember(ask, parts) ? rosters.recall(user, route, ask.minSeq) : undefined;
  if (known !== undefined) return { ...known, outcome: 'remembered', lagsMs: 0 };
  if (ask.reason === 'login') return fetch(user, route, ask, parts);
  const places = rosters.placesOf(route.source);
  if (!(await places.take(ask.patience))) return { outcome: 'expired', text: 'expired' };
  try {
    return await fetch(user, route, ask, parts);
  } finally {
    places.leave();
  }
}

/**
 * A login takes what is remembered. Whoever knows of a change takes it only where the numbers say that it was looked up
 * after that change.
 */
function mayRemember({ reason, minSeq }: RosterAsk, { order }: Parts): boolean {
  return reason === 'login' || (order.ordering === 'numbered' && minSeq > 0);
}

async function fetch(user: Jid, route: Route, ask: RosterAsk, parts: Parts): Promise<RosterOutcome> {
  try {
    const { problems, ...found } = await fetchPatiently(user, route, ask, parts);
    for (const problem of problems)
      parts.log.warn({ source: route.source.name, user: user.bare, ...problem }, 'contact left out');
    return { ...found, outcome: 'fetched' };
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) {
      parts.log.error({ user: user.bare, source: route.source.name, err: error }, 'roster lookup failed');
      return { outcome: 'internal', text: 'internal' };
    }
    logUnavailable(error, route, parts);
    const isStaleWanted = route.fallback === 'stale' && ask.reason !== 'admin';
    const expired = isStaleWanted ? parts.rosters.recallExpired(user, route) : undefined;
    if (expired !== undefined) return { ...expired, outcome: 'stale', lagsMs: 0 };
    return { outcome: 'source-unavailable', text: 'source-unavailable' };
  }
}

/** Nobody waits at a screen for a refresh of many: where the source's queue is full of others it waits for them. */
async function fetchPatiently(user: Jid, route: Route, ask: RosterAsk, parts: Parts): Promise<FetchedRoster> {
  const { reason, minSeq, traceparent, patience } = ask;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const call = { signal: parts.stopping, traceparent };
      return await whilePatient(parts.rosters.fetch(user, route, minSeq, call), patience);
    } catch (error) {
      const isCrowded = error instanceof SourceUnavailable && error.outcome === 'bulkhead-full';
      if (!isCrowded || reason !== 'admin' || attempt === crowdedAttempts || patience.aborted) throw error;
      await delay(crowdedMs, undefined, { signal: patience }).catch(() => undefined);
    }
  }
}
