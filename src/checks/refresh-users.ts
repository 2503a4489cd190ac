/**
 * The rosters of many users: every one of them has a roster or a text that says why not. Who says that they have changed
 * (`admin`) has that announced to everybody before any of them is looked up, and gets no rosters: whoever has sessions of
 * these users asks by himself, and finds them remembered here.
 */
import type { RefreshReason } from '../cache/roster-counts.ts';
import type { Roster } from '../wire/replies.ts';
import type { Ask, Parts } from './ask.ts';
import { inTurn } from './in-turn.ts';
import { startPatience } from './patience.ts';
import { announceRosters } from './roster-announce.ts';
import { lookUpRoster } from './roster-lookup.ts';
import type { RosterOutcome } from './roster-lookup.ts';
import { readUsers } from './roster-users.ts';

/** How many users of one request are looked up at once. What all requests do is bounded for each source. */
const concurrency = 16;

export interface RefreshRequest {
  readonly users: readonly string[];
  /** Completes user names; absent: only bare JIDs are users. */
  readonly host?: string | undefined;
  readonly reason: RefreshReason;
  readonly minSeq: number;
  readonly traceparent?: string | undefined;
  /** What the rosters may weigh together; the first always fits. */
  readonly maxBytes: number;
}

export interface Refreshed {
  /** Whether there were users and none of them could be had. */
  readonly allFailed: boolean;
  /** How many rosters the source has answered now; for an `admin`, since the change. */
  readonly updated: number;
  /** By bare JID; empty for an `admin`. */
  readonly rosters: ReadonlyMap<string, Roster>;
  /** Why not, by bare JID, or by what was given where it is none. */
  readonly failed: ReadonlyMap<string, string>;
  /** Of the least of the rosters. */
  readonly floor: number;
  readonly provedAtMs: number;
  /** The source may have answered with what was before the last change: ask again after so long. 0: it has not. */
  readonly againMs: number;
}

export async function refreshUsers(request: RefreshRequest, ask: Ask, parts: Parts): Promise<Refreshed> {
  const { reason, minSeq, traceparent } = request;
  const { rosters, order, proof, clock, log, stopping } = parts;
  const { users, unusable } = readUsers(request.users, request.host);
  const sum = new Sum(request, unusable, parts);
  const patience = startPatience(ask, stopping, clock);
  try {
    const tokens = reason === 'admin' ? await announceRosters(users, parts, patience.signal) : undefined;
    await inTurn(users, concurrency, async (user) => {
      const token = tokens === undefined ? minSeq : tokens.get(user.bare);
      const outcome: RosterOutcome =
        token === undefined
          ? { outcome: 'not-published', text: 'the change could not be published; say it again' }
          : await lookUpRoster(
              user,
              {
                reason,
                minSeq: Math.max(token, minSeq),
                patience: patience.signal,
                traceparent,
              },
              parts,
            );
      rosters.counts.add(reason, outcome.outcome);
      sum.add(user.bare, outcome);
    });
  } finally {
    patience.release();
  }
  const refreshed = sum.total({ floor: order.seen, provedAtMs: proof.provedAtMs });
  if (reason === 'admin') {
    const { updated, failed } = refreshed;
    const tookMs = Math.round(clock.now() - ask.askedAtMs);
    log.info({ users: users.length, updated, errors: failed.size, took_ms: tookMs }, 'rosters refreshed');
  }
  return refreshed;
}

/** What has come together so far. */
class Sum {
  readonly #request: RefreshRequest;
  readonly #rosters = new Map<string, Roster>();
  readonly #failed: Map<string, string>;
  #had = 0;
  #updated = 0;
  #bytes = 0;
  #floor = Infinity;
  #provedAtMs = Infinity;
  #againMs = 0;

  constructor(request: RefreshRequest, unusable: ReadonlyMap<string, string>, { rosters }: Parts) {
    this.#request = request;
    this.#failed = new Map(unusable);
    for (const _ of unusable) rosters.counts.add(request.reason, 'no-user');
  }

  add(user: string, outcome: RosterOutcome): void {
    if ('text' in outcome) {
      this.#failed.set(user, outcome.text);
      return;
    }
    const isAdmin = this.#request.reason === 'admin';
    if (!isAdmin && !this.#fits(user, outcome.roster)) {
      this.#failed.set(user, 'too-large');
      return;
    }
    if (!isAdmin) this.#rosters.set(user, outcome.roster);
    this.#had += 1;
    if (outcome.outcome === 'fetched' || isAdmin) this.#updated += 1;
    // The whole knows no more than its least rosters do.
    this.#floor = Math.min(this.#floor, outcome.floor);
    this.#provedAtMs = Math.min(this.#provedAtMs, outcome.provedAtMs);
    this.#againMs = Math.max(this.#againMs, outcome.lagsMs);
  }

  total(now: { readonly floor: number; readonly provedAtMs: number }): Refreshed {
    const isEmpty = this.#had === 0;
    return {
      allFailed: isEmpty && this.#failed.size > 0,
      updated: this.#updated,
      rosters: this.#rosters,
      failed: this.#failed,
      floor: isEmpty ? now.floor : this.#floor,
      provedAtMs: isEmpty ? now.provedAtMs : this.#provedAtMs,
      againMs: this.#againMs,
    };
  }

  #fits(user: string, roster: Roster): boolean {
    this.#bytes += Buffer.byteLength(JSON.stringify(roster)) + user.length;
    return this.#bytes <= this.#request.maxBytes || this.#rosters.size === 0;
  }
}
