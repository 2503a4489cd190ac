/** Rosters remembered for the next who asks, and looked up once however many ask. */
import type { Call, RosterProblem, Source } from '../sources/source.ts';
import type { Jid } from '../wire/jid.ts';
import type { Roster } from '../wire/replies.ts';
import { Flights } from './flights.ts';
import type { Freshness } from './freshness.ts';
import { Memory } from './memory.ts';
import { Places } from './places.ts';
import { RosterCounts } from './roster-counts.ts';
import { versionOf } from './roster-version.ts';
import type { Route } from './routes.ts';
import type { Subject } from './stamps.ts';

export interface FoundRoster {
  readonly roster: Roster;
  readonly floor: number;
  readonly provedAtMs: number;
}

export interface FetchedRoster extends FoundRoster {
  /** Contacts that were left out, for the log. */
  readonly problems: readonly RosterProblem[];
  /** For how long, in milliseconds, the source may still have answered with what was before the last change; 0: it has not. */
  readonly lagsMs: number;
}

/** Of a source that does not say how many calls at once it takes. */
const usualConcurrency = 32;

export class Rosters {
  readonly memory: Memory<Roster>;
  readonly flights: Flights<{ roster: Roster; problems: readonly RosterProblem[]; wasDeaf: boolean }>;
  readonly counts = new RosterCounts();
  readonly #freshness: Freshness;
  readonly #places = new Map<Source, Places>();

  constructor(maxEntries: number, freshness: Freshness) {
    this.memory = new Memory(maxEntries, freshness.order);
    this.flights = new Flights(freshness);
    this.#freshness = freshness;
  }

  /** What is remembered and may be served to who has seen `minSeq`. Of a source that may have missed changes it is nothing. */
  recall(user: Jid, route: Route, minSeq: number): FoundRoster | undefined {
    const { order, proof, clock } = this.#freshness;
    const found = this.memory.recall(keyOf(user, route), user, subjectOf, clock.now());
    const floor = Math.max(found?.floor ?? 0, order.seen);
    const isServed = floor >= minSeq && proof.isRecent() && route.source.isDeaf?.() !== true;
    const entry = isServed ? found : undefined;
    this.memory.counts[entry === undefined ? 'misses' : 'hits'] += 1;
    return entry === undefined ? undefined : { roster: entry.value, floor, provedAtMs: proof.provedAtMs };
  }

  /** What is remembered although its TTL is over; never what was invalidated. */
  recallExpired(user: Jid, route: Route): FoundRoster | undefined {
    const entry = this.memory.recallExpired(keyOf(user, route), user, subjectOf);
    return entry === undefined ? undefined : { roster: entry.value, floor: entry.floor, provedAtMs: -Infinity };
  }

  /** Asks the source. @throws SourceUnavailable */
  async fetch(user: Jid, route: Route, minSeq: number, call: Call): Promise<FetchedRoster> {
    const { source } = route;
    const { order } = this.#freshness;
    const key = keyOf(user, route);
    const fetch = async (flying: Call) => {
      if (source.roster === undefined) throw new Error(`${source.name} (${source.type}) has no rosters`);
      const wasDeaf = source.isDeaf?.() === true;
      const { items, pending, problems } = await source.roster(user, flying);
      return { roster: { version: versionOf(items, pending), items, pending }, problems, wasDeaf };
    };
    const landed = await this.flights.fly(key, subjectOf(user), minSeq, call, fetch);
    const { value, floor, beganAtMs, provedAtMs } = landed;
    const { roster, problems, wasDeaf } = value;
    const lagsMs = this.#lagOf(user, source, floor);
    const isDeaf = wasDeaf || source.isDeaf?.() === true;
    if (route.ttlMs > 0 && order.isSettled && lagsMs === 0 && !isDeaf)
      this.memory.remember(key, { value: roster, floor, expiresAtMs: beganAtMs + route.ttlMs });
    return { roster, problems, floor, provedAtMs, lagsMs };
  }

  /**
   * Who looks up many rosters takes one of these for each. They are half of what the source takes at once: the other half
   * is for who logs in meanwhile.
   */
  placesOf(source: Source): Places {
    let places = this.#places.get(source);
    if (places === undefined) {
      places = new Places(Math.max(1, Math.floor((source.maxConcurrent ?? usualConcurrency) / 2)));
      this.#places.set(source, places);
    }
    return places;
  }

  /** A change that the lookup knows of and that has not arrived here yet may have been made at this very moment. */
  #lagOf(user: Jid, { lagMs = 0 }: Source, floor: number): number {
    const { order, recent } = this.#freshness;
    if (lagMs > 0 && order.ordering === 'numbered' && floor > order.seen) return lagMs;
    return recent.remainingMs(subjectOf(user), lagMs);
  }
}

function keyOf(user: Jid, route: Route): string {
  return `${route.source.name}\0${user.bare}`;
}

function subjectOf(user: Jid): Subject {
  return { operation: 'roster-refresh', jids: [user.bare], domains: [user.domain] };
}
