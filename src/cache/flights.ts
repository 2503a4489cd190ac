/**
 * Lookups in flight: identical ones are sent once. Who asks joins a flight only if what the flight will answer is new
 * enough for him: begun at his own lowest sequence or later, not before a change that touches the question, and not
 * longer ago than the staleness bound, since a change may have been missed meanwhile.
 */
import type { Call } from '../sources/source.ts';
import type { Freshness } from './freshness.ts';
import type { Subject } from './stamps.ts';

/** A lookup that has ended. */
export interface Landed<V> {
  readonly value: V;
  /** The sequence that the answer knows: the worker's at the beginning, or the asker's if that was higher. */
  readonly floor: number;
  readonly beganAtMs: number;
  /** What was proved at the beginning, on the monotonic clock. */
  readonly provedAtMs: number;
}

interface Flight<V> {
  readonly floor: number;
  readonly beganAtMs: number;
  readonly landing: Promise<Landed<V>>;
  readonly waitedFor: WaitedFor;
}

/** Until when the most patient of those who wait for a flight does. */
interface WaitedFor {
  untilMs: number;
}

export class Flights<V> {
  readonly #flights = new Map<string, Flight<V>>();
  readonly #freshness: Freshness;
  joined = 0;

  constructor(freshness: Freshness) {
    this.#freshness = freshness;
  }

  get inFlight(): number {
    return this.#flights.size;
  }

  /** Joins the lookup with this identity, or begins it, with a call that is waited for as long as anybody does. */
  fly(
    identity: string,
    subject: Subject,
    minSeq: number,
    call: Call,
    begin: (call: Call) => Promise<V>,
  ): Promise<Landed<V>> {
    const { order, proof, clock } = this.#freshness;
    const untilMs = call.waitedForUntilMs?.() ?? Infinity;
    const current = this.#flights.get(identity);
    if (
      current !== undefined &&
      current.floor >= minSeq &&
      clock.now() - current.beganAtMs <= proof.boundMs &&
      order.stamps.allow(current.floor, subject)
    ) {
      this.joined += 1;
      current.waitedFor.untilMs = Math.max(current.waitedFor.untilMs, untilMs);
      return current.landing;
    }
    const beginning = {
      floor: order.floorFor(minSeq),
      beganAtMs: clock.now(),
      provedAtMs: proof.provedAtMs,
    };
    const waitedFor: WaitedFor = { untilMs };
    const flown = begin({ ...call, waitedForUntilMs: () => waitedFor.untilMs });
    const landing = flown.then((value) => ({ value, ...beginning }));
    const flight: Flight<V> = { ...beginning, landing, waitedFor };
    this.#flights.set(identity, flight);
    const leave = () => {
      // A newer flight may have taken the place.
      if (this.#flights.get(identity) === flight) this.#flights.delete(identity);
    };
    flight.landing.then(leave, leave);
    return flight.landing;
  }
}
