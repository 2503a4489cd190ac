/** How far a refresh of many has come: one line that changes on a terminal, else a line now and then. */

/** So that a log gets no line for every hundred users. */
const everyMs = 2_000;

export interface ProgressStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class RefreshProgress {
  readonly #stream: ProgressStream;
  readonly #total: number;
  readonly #nowMs: () => number;
  readonly #beganAtMs: number;
  #saidAtMs = -Infinity;
  #done = 0;
  #failed = 0;

  constructor(stream: ProgressStream, total: number, nowMs: () => number) {
    this.#stream = stream;
    this.#total = total;
    this.#nowMs = nowMs;
    this.#beganAtMs = nowMs();
  }

  /** So many more users are done, so many of them failed. */
  add(done: number, failed: number): void {
    this.#done += done;
    this.#failed += failed;
    if (this.#stream.isTTY === true) {
      // The rest of a longer line before it is erased (ECMA-48, EL).
      this.#stream.write(`\r${this.#line()}\u001b[K`);
    } else if (this.#nowMs() - this.#saidAtMs >= everyMs || this.#done === this.#total) {
      this.#saidAtMs = this.#nowMs();
      this.#stream.write(`${this.#line()}\n`);
    }
  }

  /** What follows begins on a line of its own. */
  end(): void {
    if (this.#stream.isTTY === true) this.#stream.write('\n');
  }

  #line(): string {
    const seconds = (this.#nowMs() - this.#beganAtMs) / 1_000;
    const rate = seconds > 0 ? `, ${Math.round(this.#done / seconds).toLocaleString('en')} a second` : '';
    const failed = this.#failed === 0 ? '' : `, ${this.#failed.toLocaleString('en')} failed`;
    return `${this.#done.toLocaleString('en')} of ${this.#total.toLocaleString('en')} users${failed}${rate}`;
  }
}
