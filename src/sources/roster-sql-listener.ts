/**
 * The one connection on which the database announces changes, and how it is known that nothing was missed. It is made
 * again for ever; what a notification means is not known here.
 *
 * Silence proves nothing: the server may stand still, or the way to it may be cut without either side noticing. So the
 * connection is asked again and again, and as notifications and answers come in one order, an answer proves that
 * everything announced before its question was sent has been heard. Whoever looks compares that moment with the clock:
 * a process that stood still itself is deaf until it has heard an answer again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Client, escapeIdentifier } from 'pg';
import type { Clock } from '../clock.ts';
import { SourceUnavailable } from './source.ts';
import type { SourceContext } from './source.ts';
import { sqlConnections, sqlUnavailable } from './sql-connection.ts';

export interface ListenerOptions {
  readonly url: string;
  readonly channel: string;
  /** How long making the connection, or one answer, may take before it is given up. */
  readonly timeoutMs: number;
  /** The staleness bound: how old the proof may be. */
  readonly boundMs: number;
  readonly onNotification: (payload: string) => void;
  /** From now on everything is heard; what was announced before is not known. */
  readonly onListening: () => void;
}

const firstRetryMs = 100;
const longestRetryMs = 5_000;

export class Listener {
  readonly #options: ListenerOptions;
  readonly #clock: Clock;
  readonly #log: SourceContext['log'];
  readonly #connections: ReturnType<typeof sqlConnections>;
  readonly #stopping = new AbortController();
  #provedAtMs = -Infinity;
  #listeningSinceMs = Infinity;
  #running = Promise.resolve();

  constructor(options: ListenerOptions, { clock, log }: Pick<SourceContext, 'clock' | 'log'>) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#connections = sqlConnections(options.url, options.timeoutMs);
  }

  /** Everything that was announced before this moment of the clock has been heard. */
  get provedAtMs(): number {
    return this.#provedAtMs;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#connections.destroy();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { channel } = this.#options;
    const { target } = this.#connections;
    for (let failures = 0; !this.#isStopping; failures += 1) {
      this.#listeningSinceMs = Infinity;
      const error = await this.#listen();
      if (this.#isStopping) return;
      // A connection that has held for a while was a good one: what ends it is new.
      if (this.#clock.now() - this.#listeningSinceMs > longestRetryMs) failures = 0;
      const retryMs = Math.min(longestRetryMs, firstRetryMs * 2 ** failures) * (0.5 + Math.random() / 2);
      const { message } = sqlUnavailable(error, target);
      this.#log.warn({ channel, detail: message, retry_ms: Math.round(retryMs) }, 'not listening to the database');
      await rest(retryMs, this.#stopping.signal);
    }
  }

  /** Listens for as long as it can. @returns why it cannot any longer */
  async #listen(): Promise<unknown> {
    const { channel, boundMs, onNotification, onListening } = this.#options;
    const { target, options, destroy } = this.#connections;
    const client = new Client(options);
    const over = new AbortController();
    client.on('error', (error) => over.abort(error));
    client.on('end', () => over.abort(new SourceUnavailable('unreachable', `${target}: the connection was closed`)));
    client.on('notification', (message) => {
      if (message.channel === channel) onNotification(message.payload ?? '');
    });
    try {
      await this.#inTime(client.connect());
      let sentAtMs = this.#clock.now();
      await this.#inTime(client.query(`LISTEN ${escapeIdentifier(channel)}`));
      this.#listeningSinceMs = this.#clock.now();
      this.#log.info({ channel }, 'listening to the database');
      onListening();
      for (;;) {
        this.#provedAtMs = sentAtMs;
        // Four questions in the time that one proof holds, as with the proof of the broker's order.
        await rest(boundMs / 4, over.signal);
        over.signal.throwIfAborted();
        sentAtMs = this.#clock.now();
        await this.#inTime(client.query('SELECT 1'));
      }
    } catch (error) {
      return error;
    } finally {
      destroy();
    }
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #inTime<T>(work: Promise<T>): Promise<T> {
    const { timeoutMs } = this.#options;
    const { target } = this.#connections;
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<never>((_, reject) => {
      const error = new SourceUnavailable('timeout', `${target}: no answer within ${timeoutMs} ms`);
      timer = setTimeout(() => reject(error), timeoutMs);
    });
    try {
      return await Promise.race([work, tooLong]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Until then, or until the signal is aborted. */
async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
