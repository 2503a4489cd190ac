/**
 * The order of changes as this process knows it. Every change that is applied gets the next number and stamps what it
 * names; `seen` is the highest number applied and never goes down. A lookup is good for the `seen` at its beginning.
 */
import type { Change } from '../changes.ts';
import { Stamps } from './stamps.ts';

const maxStamps = 1_000_000;

export class ChangeOrder {
  readonly stamps = new Stamps(maxStamps);
  #seen = 0;

  get seen(): number {
    return this.#seen;
  }

  /** Ends whatever was known of what the change names. Returns the change's number. */
  apply(change: Change): number {
    this.#seen += 1;
    this.stamps.set(change, this.#seen);
    return this.#seen;
  }
}
