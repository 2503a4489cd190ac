/** Chance that can be had again: the same seed gives the same sequence (the minimal standard generator of Park and Miller). */
const modulus = 2_147_483_647;
const multiplier = 48_271;

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed % (modulus - 1)) + 1;
    // Seeds that are neighbours begin alike.
    for (let index = 0; index < 8; index += 1) this.next();
  }

  /** From 0 up to 1, without 1. */
  next(): number {
    this.#state = (this.#state * multiplier) % modulus;
    return (this.#state - 1) / (modulus - 1);
  }

  /** A whole number from 0 up to `below`, without it. */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** @throws Error when there is nothing to pick from */
  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }
}
