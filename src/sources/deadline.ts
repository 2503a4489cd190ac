/** How long one call goes on: until it has taken too long or nobody waits for it. It knows nothing of what is called. */
import { setMaxListeners } from 'node:events';
import { SourceUnavailable } from './source.ts';

export class Deadline {
  /** Aborted when the deadline has passed. */
  readonly signal: AbortSignal;
  /** Rejects when the deadline has passed; never resolves. */
  readonly passed: Promise<never>;
  readonly #aborter = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #caller: AbortSignal;
  readonly #abandon = () => this.#end(new SourceUnavailable('abandoned', 'nobody waits for the answer any longer'));
  #reject: (reason: SourceUnavailable) => void = () => undefined;
  #reason: SourceUnavailable | undefined;

  /** `tooLong` is made when the time is over, in milliseconds, as it depends on how far the call has come. */
  constructor(timeoutMs: number, caller: AbortSignal, tooLong: () => SourceUnavailable) {
    this.signal = this.#aborter.signal;
    this.passed = new Promise<never>((_, reject) => {
      this.#reject = reject;
    });
    // Raced by whoever waits; a call that ended at once has nobody who races it.
    this.passed.catch(() => undefined);
    this.#timer = setTimeout(() => this.#end(tooLong()), timeoutMs);
    this.#caller = caller;
    if (caller.aborted) this.#abandon();
    // Taken off again on release: the caller's signal may live as long as the process.
    else {
      // One signal may end any number of calls; Node warns of a leak from the eleventh on.
      setMaxListeners(0, caller);
      caller.addEventListener('abort', this.#abandon, { once: true });
    }
  }

  /** Why the deadline has passed; undefined while it has not. */
  get reason(): SourceUnavailable | undefined {
    return this.#reason;
  }

  /** To be called when the call has ended, however it did. */
  release(): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener('abort', this.#abandon);
  }

  #end(reason: SourceUnavailable): void {
    this.#reason = reason;
    this.#reject(reason);
    this.#aborter.abort(reason);
  }
}
