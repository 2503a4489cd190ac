/**
 * When the event loop was last known alive: the moment from which a request's budget is counted. What lay in the
 * socket while the process was stopped or stuck is then found expired, although it looks new when it is read.
 *
 * A timer ticks. When it is on time, everything that had arrived has been read by the check phase that follows (Node
 * runs timers, then reads sockets, then runs `setImmediate`). When it is late the process was stalled, and more may lie
 * in the socket than one phase reads: then a PING goes out, and only its PONG, which the broker queues behind all that
 * it had sent before, says that the backlog has been read.
 */
import type { Clock } from '../clock.ts';

const tickMs = 20;
/** Longer than a usual garbage collection, shorter than any budget worth keeping. */
const stallMs = 100;

export class Liveness {
  readonly #clock: Clock;
  readonly #pong: () => Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #lastTickMs: number;
  #aliveAtMs: number;
  #catchingUp = false;
  #onLooped: (stalledMs: number) => void = () => undefined;
  stalls = 0;

  /** @param pong resolves once all that the broker had sent before the call has been read */
  constructor(clock: Clock, pong: () => Promise<void>) {
    this.#clock = clock;
    this.#pong = pong;
    this.#lastTickMs = clock.now();
    this.#aliveAtMs = this.#lastTickMs;
  }

  /** On the monotonic clock, in milliseconds: no request that is read now can have arrived before. */
  get aliveAtMs(): number {
    return this.#aliveAtMs;
  }

  /** To be told at each tick for how long the loop has stood still since the last one, in milliseconds; 0: it has not. */
  onLooped(tell: (stalledMs: number) => void): void {
    this.#onLooped = tell;
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), tickMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  tick(): void {
    const nowMs = this.#clock.now();
    const lateMs = nowMs - this.#lastTickMs - tickMs;
    const isStall = lateMs > stallMs;
    this.#lastTickMs = nowMs;
    this.#onLooped(isStall ? lateMs : 0);
    if (this.#catchingUp) return;
    if (!isStall) {
      setImmediate(() => {
        if (!this.#catchingUp) this.#aliveAtMs = nowMs;
      });
      return;
    }
    this.stalls += 1;
    this.#catchingUp = true;
    const caughtUp = () => {
      this.#catchingUp = false;
      this.#aliveAtMs = this.#clock.now();
    };
    // A connection that is gone has no backlog: what the broker had for it went with it.
    this.#pong().then(caughtUp, caughtUp);
  }
}
