/**
 * A bounded number of places, given to those who wait in the order in which they came. Knows nothing of what is done in
 * them.
 */
export class Places {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /**
   * Takes a place, or waits for one until `patience` ends.
   * @returns whether there is one; it must then be given back with `leave`
   */
  take(patience: AbortSignal): Promise<boolean> {
    if (patience.aborted) return Promise.resolve(false);
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const enter = () => {
        patience.removeEventListener('abort', giveUp);
        resolve(true);
      };
      const giveUp = () => {
        this.#waiting.delete(enter);
        resolve(false);
      };
      this.#waiting.add(enter);
      patience.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** Gives a place back: to who has waited longest, if anybody does. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
