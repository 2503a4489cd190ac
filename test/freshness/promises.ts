/** The promises of docs/freshness.md, held against what the askers were told. */
import { scopesOf } from './population.ts';
import type { MadeChange } from './changer.ts';

export interface Told {
  /** Which asker was told, and whether by his near cache or by a worker. */
  readonly by: string;
  readonly question: string;
  readonly askedAtUs: number;
  /** What the asker had seen when he asked. */
  readonly seen: number;
  readonly version: number;
}

export type Promised = 'seen' | 'bound' | 'flush --wait';

export interface Violation {
  readonly promised: Promised;
  readonly told: Told;
  /** The change that the answer should have known. */
  readonly wanted: MadeChange | undefined;
}

/** For one scope: the highest version known at each point of one axis. */
class Steps {
  readonly #at: number[] = [];
  readonly #highest: number[] = [];

  constructor(points: readonly (readonly [at: number, version: number])[]) {
    let highest = 0;
    for (const [at, version] of points.toSorted(([a], [b]) => a - b)) {
      highest = Math.max(highest, version);
      this.#at.push(at);
      this.#highest.push(highest);
    }
  }

  /** The highest version of all points at or below. */
  upTo(at: number): number {
    let low = 0;
    let high = this.#at.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#at[middle] ?? Infinity) <= at) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : (this.#highest[low - 1] ?? 0);
  }
}

/** What each answer had to know, by promise. */
export class Promises {
  readonly #axes: Record<Promised, Map<string, Steps>>;
  readonly #scopes = new Map<string, string[]>();
  readonly #made: ReadonlyMap<number, MadeChange>;

  constructor(made: readonly MadeChange[], boundMs: number) {
    const boundUs = boundMs * 1_000;
    this.#made = new Map(made.map((change) => [change.version, change]));
    const axis = (point: (change: MadeChange) => number | undefined) => {
      const byScope = new Map<string, [number, number][]>();
      for (const change of made) {
        const at = point(change);
        if (at === undefined) continue;
        const points = byScope.get(change.scope) ?? [];
        points.push([at, change.version]);
        byScope.set(change.scope, points);
      }
      return new Map([...byScope].map(([scope, points]) => [scope, new Steps(points)]));
    };
    this.#axes = {
      seen: axis(({ sequence }) => sequence),
      // Later than the bound, not at it: clocks are read to the microsecond.
      bound: axis(({ acknowledgedAtUs }) => acknowledgedAtUs + boundUs + 1),
      'flush --wait': axis(({ reachedAtUs }) => (reachedAtUs === undefined ? undefined : reachedAtUs + 1)),
    };
  }

  violationOf(told: Told): Violation | undefined {
    let scopes = this.#scopes.get(told.question);
    if (scopes === undefined) {
      scopes = scopesOf(told.question);
      this.#scopes.set(told.question, scopes);
    }
    for (const promised of ['seen', 'bound', 'flush --wait'] as const) {
      const at = promised === 'seen' ? told.seen : told.askedAtUs;
      for (const scope of scopes) {
        const wanted = this.#axes[promised].get(scope)?.upTo(at) ?? 0;
        if (told.version < wanted) return { promised, told, wanted: this.#made.get(wanted) };
      }
    }
    return undefined;
  }
}
