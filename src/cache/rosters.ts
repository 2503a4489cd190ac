/** Rosters remembered for the next login and looked up once however many ask. */
import { createHash } from 'node:crypto';
import type { Call, RosterProblem } from '../sources/source.ts';
import type { Jid } from '../wire/jid.ts';
import type { Roster } from '../wire/replies.ts';
import { Flights } from './flights.ts';
import type { Freshness } from './freshness.ts';
import { Memory } from './memory.ts';
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
}

export class Rosters {
  readonly memory: Memory<Roster>;
  readonly flights: Flights<{ roster: Roster; problems: readonly RosterProblem[] }>;
  readonly #freshness: Freshness;

  constructor(maxEntries: number, freshness: Freshness) {
    this.memory = new Memory(maxEntries, freshness.order);
    this.flights = new Flights(freshness);
    this.#freshness = freshness;
  }

  recall(user: Jid, route: Route, minSeq: number): FoundRoster | undefined {
    const found = this.memory.recall(keyOf(user, route), user, subjectOf, this.#freshness.clock.now());
    const floor = Math.max(found?.floor ?? 0, this.#freshness.order.seen);
    const entry = floor >= minSeq && this.#freshness.proof.isRecent() ? found : undefined;
    this.memory.counts[entry === undefined ? 'misses' : 'hits'] += 1;
    return entry === undefined
      ? undefined
      : { roster: entry.value, floor, provedAtMs: this.#freshness.proof.provedAtMs };
  }

  /** What is remembered although its TTL is over; never what was invalidated. */
  recallExpired(user: Jid, route: Route): FoundRoster | undefined {
    const entry = this.memory.recallExpired(keyOf(user, route), user, subjectOf);
    return entry === undefined ? undefined : { roster: entry.value, floor: entry.floor, provedAtMs: -Infinity };
  }

  /** Asks the source. @throws SourceUnavailable */
  async fetch(user: Jid, route: Route, minSeq: number, call: Call): Promise<FetchedRoster> {
    const { source } = route;
    const key = keyOf(user, route);
    const { value, floor, beganAtMs, provedAtMs } = await this.flights.fly(key, subjectOf(user), minSeq, async () => {
      if (source.roster === undefined) throw new Error(`${source.name} (${source.type}) has no rosters`);
      const { items, pending, problems } = await source.roster(user, call);
      return { roster: { version: versionOf(items, pending), items, pending }, problems };
    });
    const isLagging = this.#freshness.recent.touched(subjectOf(user), source.lagMs ?? 0);
    if (route.ttlMs > 0 && this.#freshness.order.isSettled && !isLagging)
      this.memory.remember(key, { value: value.roster, floor, expiresAtMs: beganAtMs + route.ttlMs });
    return { ...value, floor, provedAtMs };
  }
}

function keyOf(user: Jid, route: Route): string {
  return `${route.source.name}\0${user.bare}`;
}

function subjectOf(user: Jid): Subject {
  return { operation: 'roster-refresh', jids: [user.bare], domains: [user.domain] };
}

/** The same content has the same version, whatever order the source lists it in (RFC 6121 section 2.6). */
function versionOf(items: Roster['items'], pending: Roster['pending']): string {
  const contacts = items
    .map((item) => [item.jid, item.name ?? '', item.subscription, item.ask ?? '', ...item.groups.toSorted()])
    .map((fields) => JSON.stringify(fields))
    .toSorted();
  const requests = pending.map(({ jid, text }) => JSON.stringify([jid, text ?? ''])).toSorted();
  return createHash('sha256')
    .update(contacts.join('\n'))
    .update('\n\n')
    .update(requests.join('\n'))
    .digest('base64url')
    .slice(0, 22);
}
