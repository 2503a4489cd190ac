/**
 * The changes of the whole cluster, in one order: follows the stream, publishes into it, and proves by ticks that
 * nothing was missed. Every worker hears every change, so there is no queue group here.
 */
import type { JetStreamClient, Msg, NatsConnection, Subscription } from 'nats';
import { Events } from 'nats';
import type { Logger } from 'pino';
import type { ChangeOrder } from '../cache/order.ts';
import type { Proof } from '../cache/proof.ts';
import type { Change } from '../changes.ts';
import type { Clock } from '../clock.ts';
import { decodeInvalidation, encodeTick } from '../wire/invalidation.ts';
import { publishNumbered, publishUnnumbered, publishUntilAcknowledged } from './publish.ts';
import {
  ensureStream,
  hasJetStream,
  StreamIncompatible,
  invalidatedSubject,
  invalidateSubject,
  streamName,
} from './stream.ts';

export interface InvalidationsOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly replicas: number;
  /** Names this worker in its ticks. */
  readonly id: string;
  readonly order: ChangeOrder;
  readonly proof: Proof;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Invalidations {
  readonly #options: InvalidationsOptions;
  readonly #jetstream: JetStreamClient;
  readonly #subscriptions: Subscription[] = [];
  #ticking: NodeJS.Timeout | undefined;
  #isMending = false;
  #stopped = false;
  /** Plain numbers, read when the metrics are scraped. */
  readonly counts = { ticks: 0, ticksFailed: 0, foreign: 0 };

  constructor(options: InvalidationsOptions) {
    this.#options = options;
    this.#jetstream = options.nats.jetstream();
  }

  /**
   * Subscribes, makes or checks the stream, and begins to tick.
   * @throws StreamIncompatible
   */
  async start(): Promise<void> {
    const { nats, prefix, proof, log } = this.#options;
    const listen = (subject: string, receive: (message: Msg) => void) =>
      this.#subscriptions.push(
        nats.subscribe(subject, { callback: (error, message) => (error === null ? receive(message) : undefined) }),
      );
    listen(invalidatedSubject(prefix), (message) => this.#receiveNumbered(message));
    listen(invalidateSubject(prefix), (message) => this.#receiveUnnumbered(message));
    await nats.flush();
    try {
      await this.#connect();
    } catch (error) {
      if (error instanceof StreamIncompatible) throw error;
      // A cluster without a leader, or a broker that is just starting: the ticks go on trying.
      log.warn({ detail: String(error) }, 'the stream of changes is not usable yet');
    }
    void this.#watchReconnects();
    this.#ticking = setInterval(() => void this.#tick(), proof.boundMs / 4);
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#ticking);
    if (this.#options.nats.isClosed()) return;
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  /**
   * Publishes a change, again and again until the stream has acknowledged it or the signal is aborted.
   * @returns its number; 0 where there is no JetStream to give one
   */
  async publish(change: Change, reason: string, signal?: AbortSignal): Promise<number> {
    const { nats, prefix, order, log } = this.#options;
    if (order.ordering === 'counted') {
      await publishUnnumbered(nats, prefix, change, reason);
      return 0;
    }
    const sequence = await publishUntilAcknowledged(nats, prefix, change, reason, signal, (error) => {
      log.warn({ change, detail: String(error) }, 'change not acknowledged, publishing again');
      this.#mend();
    });
    order.acknowledge(sequence);
    return sequence;
  }

  /** A number from the stream. A publisher can forge headers; the broker's own stand last. */
  #receiveNumbered(message: Msg): void {
    const { order, prefix } = this.#options;
    const stream = message.headers?.values('Nats-Stream').at(-1);
    const sequence = Number(message.headers?.values('Nats-Sequence').at(-1));
    if (stream !== streamName(prefix) || !Number.isSafeInteger(sequence) || sequence <= 0) {
      this.counts.foreign += 1;
      return;
    }
    order.apply(sequence, decodeInvalidation(message.data));
  }

  #receiveUnnumbered(message: Msg): void {
    const change = decodeInvalidation(message.data);
    if (change !== undefined) this.#options.order.hear(change);
  }

  async #connect(): Promise<void> {
    const { nats, order, log } = this.#options;
    const isNumbered = await hasJetStream(nats);
    order.connected(isNumbered ? 'numbered' : 'counted');
    if (!isNumbered) {
      log.warn('the broker has no JetStream: freshness cannot be proved, changes may be missed until their TTL');
      return;
    }
    await this.#makeStream();
    await this.#tick();
  }

  async #makeStream(): Promise<void> {
    const { nats, prefix, replicas, log } = this.#options;
    // On three replicas the first publication after the purge can be lost: it is repeated until acknowledged.
    if (await ensureStream(nats, { prefix, replicas }, log)) await this.publish({ all: true }, 'stream begun anew');
  }

  async #watchReconnects(): Promise<void> {
    for await (const { type } of this.#options.nats.status()) {
      if (type !== Events.Reconnect || this.#stopped) continue;
      // Clears first: what follows may take a while or fail.
      this.#options.order.connected(this.#options.order.ordering);
      this.#attempt(() => this.#connect());
    }
  }

  async #tick(): Promise<void> {
    const { prefix, id, order, proof, clock, log } = this.#options;
    if (order.ordering === 'counted' || this.#stopped) return;
    const sentAtMs = clock.now();
    this.counts.ticks += 1;
    try {
      const sequence = await publishNumbered(this.#jetstream, prefix, encodeTick(id), proof.boundMs);
      proof.acknowledge(sequence, sentAtMs);
    } catch (error) {
      this.counts.ticksFailed += 1;
      log.debug({ detail: String(error) }, 'tick not acknowledged');
      this.#mend();
    }
  }

  /**
   * Nothing was acknowledged: perhaps the stream was deleted, and any worker may make it anew. It does not show as "no
   * responders", because every cache listens to the subject.
   */
  #mend(): void {
    this.#attempt(() => this.#makeStream());
  }

  /** One attempt at a time. A failed one is followed by the next tick's. */
  #attempt(work: () => Promise<void>): void {
    if (this.#isMending) return;
    this.#isMending = true;
    work()
      .catch((error: unknown) =>
        this.#options.log.error({ detail: String(error) }, 'the stream of changes is not usable'),
      )
      .finally(() => {
        this.#isMending = false;
      });
  }
}
