/** Lifetimes as a stack: what was acquired last is released first, whatever fails on the way. */

export class Releasers {
  readonly #stack: (() => Promise<void> | void)[] = [];
  #released = false;

  push(release: () => Promise<void> | void): void {
    this.#stack.push(release);
  }

  /** Releases everything in reverse, goes on past failures and throws the first. Only once. */
  async release(): Promise<void> {
    if (this.#released) throw new Error('released twice');
    this.#released = true;
    const errors: unknown[] = [];
    for (const release of this.#stack.toReversed()) {
      try {
        await release();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
