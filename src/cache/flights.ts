/**
 * Lookups in flight: identical ones are sent once. Who asks joins a flight only if what the flight will answer is new
 * enough for him: begun at his own lowest sequence or later, and not before a change that touches the question.
 */
import type { Clock } from '../clock.ts';
import type { ChangeOrder } from './order.ts';
import type { Subject } from './stamps.ts';

/** A lookup that has ended. */
export interface Landed<V> {
  readonly value: V;
  readonly floor: number;
  readonly beganAtMs: number;
}

interface Flight<V> {
  readonly floor: number;
  readonly landing: Promise<Landed<V>>;
}

export class Flights<V> {
  readonly #flights = new Map<string, Flight<V>>();
  readonly #order: ChangeOrder;
  readonly #clock: Clock;
  joined = 0;

  constructor(order: ChangeOrder, clock: Clock) {
    this.#order = order;
    this.#clock = clock;
  }

  get inFlight(): number {
    return this.#flights.size;
  }

  /** Joins the lookup with this identity, or begins it. */
  fly(identity: string, subject: Subject, minSeq: number, begin: () => Promise<V>): Promise<Landed<V>> {
    const current = this.#flights.get(identity);
    if (
      current !== undefined &&
      current.floor >= Math.min(minSeq, this.#order.seen) &&
      this.#order.stamps.allow(current.floor, subject)
    ) {
      this.joined += 1;
      return current.landing;
    }
    const flight: Flight<V> = { floor: this.#order.seen, landing: this.#land(begin) };
    this.#flights.set(identity, flight);
    const leave = () => {
      // A newer flight may have taken the place.
      if (this.#flights.get(identity) === flight) this.#flights.delete(identity);
    };
    flight.landing.then(leave, leave);
    return flight.landing;
  }

  async #land(begin: () => Promise<V>): Promise<Landed<V>> {
    const floor = this.#order.seen;
    const beganAtMs = this.#clock.now();
    return { value: await begin(), floor, beganAtMs };
  }
}
