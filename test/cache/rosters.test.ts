import { describe, expect, it } from 'vitest';
import { ChangeOrder } from '../../src/cache/order.ts';
import { Proof } from '../../src/cache/proof.ts';
import { RecentChanges } from '../../src/cache/recent.ts';
import { Rosters } from '../../src/cache/rosters.ts';
import type { Route } from '../../src/cache/routes.ts';
import type { RosterAnswer } from '../../src/sources/source.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { ManualClock } from '../clock.ts';
import { HeldSource } from '../held-source.ts';

const alice = parseBareJid('alice@localhost');
const zero = () => ({ allow: 0, deny: 0, drop: 0, modify: 0, defer: 0 });

class DeafSource extends HeldSource {
  hears = true;
  isDeaf(): boolean {
    return !this.hears;
  }
}

function rosterWith(...contacts: string[]): RosterAnswer {
  const items = contacts.map((jid) => ({ jid, subscription: 'both' as const, groups: [] }));
  return { items, pending: [], problems: [] };
}

function setUp({ lagMs = 0 } = {}) {
  const clock = new ManualClock();
  const order = new ChangeOrder();
  const proof = new Proof(order, clock, 2_000);
  order.connected('numbered');
  order.apply(100, undefined);
  proof.acknowledge(100, clock.now());
  const rosters = new Rosters(100, { order, proof, recent: new RecentChanges(order, clock, 60_000), clock });
  const source = new DeafSource();
  source.lagMs = lagMs;
  const route: Route = {
    operation: 'roster-refresh',
    source,
    ttlMs: 60_000,
    fallback: 'fail',
    unprovedMs: 0,
    scopesSeen: [],
    counts: { decided: zero(), degraded: zero(), remembered: 0 },
  };
  const fetch = (minSeq = 0) => rosters.fetch(alice, route, minSeq, { signal: new AbortController().signal });
  const recalled = (minSeq = 0) => rosters.recall(alice, route, minSeq)?.roster.items.map(({ jid }) => jid);
  return { clock, order, rosters, source, route, fetch, recalled };
}

describe('rosters', () => {
  it('of two lookups that end in the wrong order the one of the newer change is remembered', async () => {
    const { order, source, fetch, recalled } = setUp();
    order.apply(101, { user: alice.bare });
    const older = fetch(101);
    order.apply(102, { user: alice.bare });
    const newer = fetch(102);
    source.askedRosters[1]?.answer(rosterWith('new@localhost'));
    await newer;
    source.askedRosters[0]?.answer(rosterWith('old@localhost'));
    await older;
    expect(recalled(102)).toEqual(['new@localhost']);
  });

  it('of a source that may have missed changes are neither served nor remembered, except as its fallback', async () => {
    const { source, rosters, route, fetch, recalled } = setUp();
    const first = fetch();
    source.askedRosters[0]?.answer(rosterWith('bob@localhost'));
    await first;
    expect(recalled()).toEqual(['bob@localhost']);
    source.hears = false;
    expect(recalled()).toBeUndefined();
    expect(rosters.recallExpired(alice, route)?.roster.items).toHaveLength(1);
    const second = fetch();
    source.askedRosters[1]?.answer(rosterWith('bob@localhost', 'carol@localhost'));
    expect((await second).roster.items).toHaveLength(2);
    expect(rosters.recallExpired(alice, route)?.roster.items).toHaveLength(1);
  });

  it.each([
    ['when it was asked', false, true],
    ['when it answered', true, false],
  ])('of a source that was deaf only %s are not remembered', async (_when, heardBefore, hearsAfter) => {
    const { source, fetch, recalled } = setUp();
    source.hears = heardBefore;
    const fetching = fetch();
    source.hears = hearsAfter;
    source.askedRosters[0]?.answer(rosterWith('bob@localhost'));
    await fetching;
    source.hears = true;
    expect(recalled()).toBeUndefined();
  });

  it('of a source with replicas say how long these may lag, also for a change that has no number here yet', async () => {
    const { clock, order, source, fetch, recalled } = setUp({ lagMs: 500 });
    order.acknowledge(101);
    const ahead = fetch(101);
    source.askedRosters[0]?.answer(rosterWith('old@localhost'));
    expect(await ahead).toMatchObject({ floor: 101, lagsMs: 500 });
    order.apply(101, { user: alice.bare });
    clock.advance(200);
    const early = fetch(101);
    source.askedRosters[1]?.answer(rosterWith('old@localhost'));
    expect((await early).lagsMs).toBe(301);
    expect(recalled(101)).toBeUndefined();
    clock.advance(301);
    const late = fetch(101);
    source.askedRosters[2]?.answer(rosterWith('new@localhost'));
    expect((await late).lagsMs).toBe(0);
    expect(recalled(101)).toEqual(['new@localhost']);
  });

  it('are looked up in at most half of the places that the source has, and in one at least', async () => {
    const { rosters, source } = setUp();
    const places = rosters.placesOf(Object.assign(source, { maxConcurrent: 4 }));
    const patience = new AbortController();
    expect(await Promise.all([places.take(patience.signal), places.take(patience.signal)])).toEqual([true, true]);
    const [third, fourth] = [places.take(patience.signal), places.take(patience.signal)];
    places.leave();
    expect(await third).toBe(true);
    patience.abort();
    expect(await fourth).toBe(false);
    places.leave();
    places.leave();
    expect(await places.take(new AbortController().signal)).toBe(true);
    const narrow = rosters.placesOf(Object.assign(new HeldSource(), { maxConcurrent: 1 }));
    expect(await narrow.take(new AbortController().signal)).toBe(true);
  });
});
