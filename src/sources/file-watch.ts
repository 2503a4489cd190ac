/**
 * Notices that a file may have changed, whichever way it is written: in place and in several steps, by a rename over it,
 * or through a symbolic link that is turned (as Kubernetes does). It knows nothing of what the file holds.
 *
 * The directory is watched, as a watch on the file itself is lost with the first rename. Where watching does not work
 * (network file systems, no watches left) the poll notices alone.
 */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Logger } from 'pino';

export interface FileWatchOptions {
  readonly pollMs: number;
  readonly log: Logger;
  /** Called once at a time, and must not reject. What happens to the file meanwhile leads to another call. */
  readonly maybeChanged: () => Promise<void>;
}

/** How long after the first sign the file is read, so that who writes in two steps has done both. */
const settleMs = 50;

export class FileWatch {
  readonly #file: string;
  readonly #options: FileWatchOptions;
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;
  #signature = '';
  #signs = 0;
  #calling: Promise<void> | undefined;
  #stopped = false;

  constructor(file: string, options: FileWatchOptions) {
    this.#file = file;
    this.#options = options;
  }

  /**
   * Watches from now on. The first reading is done under the watch, so that no change is lost between the two; what it
   * throws is thrown, and nothing is watched then.
   */
  async start(firstReading: () => Promise<void>): Promise<void> {
    this.#signature = await signatureOf(this.#file);
    try {
      this.#watcher = watch(dirname(this.#file), (_, name) => {
        if (name === null || name === basename(this.#file)) this.#sign();
        else void this.#compare();
      });
      this.#watcher.on('error', (error) => this.#unwatch(error));
    } catch (error) {
      this.#unwatch(error);
    }
    this.#poll = setInterval(() => void this.#compare(), this.#options.pollMs);
    try {
      this.#calling = this.#call(firstReading);
      await this.#calling;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Resolves when a call under way has ended; there are none afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watcher?.close();
    clearInterval(this.#poll);
    clearTimeout(this.#settling);
    await this.#calling;
  }

  #unwatch(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    const { pollMs, log } = this.#options;
    log.warn({ file: this.#file, err: error, poll_ms: pollMs }, 'directory cannot be watched: changes are polled for');
  }

  async #compare(): Promise<void> {
    const signature = await signatureOf(this.#file);
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#sign();
  }

  #sign(): void {
    this.#signs += 1;
    if (this.#stopped || this.#settling !== undefined || this.#calling !== undefined) return;
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      this.#calling = this.#call(this.#options.maybeChanged);
    }, settleMs);
  }

  async #call(read: () => Promise<void>): Promise<void> {
    const answered = this.#signs;
    try {
      await read();
    } finally {
      this.#calling = undefined;
      if (this.#signs > answered) this.#sign();
    }
  }
}

/** Differs whenever the file was written or replaced; empty while there is none. */
async function signatureOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch {
    return '';
  }
}
