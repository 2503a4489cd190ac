/**
 * `<prefix>.ctl.watch` and `<prefix>.ctl.decisions`: decisions told as they are made, while somebody says that he watches.
 * Nobody watching costs a look at one boolean a request.
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import type { Clock } from '../clock.ts';
import { asFailure, Failure, failures } from '../failures.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import type { Operation } from '../wire/operation.ts';
import { readWatchRequest } from '../wire/watch.ts';
import type { WatchFilter } from '../wire/watch.ts';
import type { Answered } from './serve.ts';
import { isInbox } from './subjects.ts';
import { domainOf, isWatched, toldOf } from './watched.ts';

/** How long somebody watches after his last word. He says it every five seconds. */
const watchMs = 15_000;
/** People at terminals; each costs a comparison a decision. */
const maxWatchers = 32;
/** For all who watch together: who watches must not cost those who are asked. */
export const maxToldPerSecond = 500;
const windowMs = 1_000;

export function watchSubject(prefix: string): string {
  return `${prefix}.ctl.watch`;
}

export function decisionsSubject(prefix: string): string {
  return `${prefix}.ctl.decisions`;
}

export interface DecisionsWatchOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly clock: Clock;
  /** The boot id of this worker. */
  readonly worker: string;
  /** The name of the source that answers an operation for a domain. */
  readonly sourceOf: (operation: Operation, domain: string) => string | undefined;
}

interface Watcher {
  readonly filter: WatchFilter;
  readonly untilMs: number;
}

export class DecisionsWatch {
  readonly #options: DecisionsWatchOptions;
  readonly #watchers = new Map<string, Watcher>();
  readonly #dropped = new Map<string, number>();
  #subscription: Subscription | undefined;
  #window: NodeJS.Timeout | undefined;
  #told = 0;
  /** Whether anybody watches: all that a request looks at when nobody does. */
  isOpen = false;

  constructor(options: DecisionsWatchOptions) {
    this.#options = options;
  }

  start(): void {
    const { nats, prefix } = this.#options;
    this.#subscription = nats.subscribe(watchSubject(prefix), {
      callback: (error, message) => (error === null ? this.#receive(message) : undefined),
    });
  }

  stop(): void {
    clearInterval(this.#window);
    this.isOpen = false;
    if (!this.#options.nats.isClosed()) this.#subscription?.unsubscribe();
  }

  /** Tells who watches. To be called while `isOpen`. */
  see(answered: Answered): void {
    const ids = [...this.#watchers].filter(([, { filter }]) => isWatched(filter, answered)).map(([id]) => id);
    if (ids.length === 0) return;
    if (this.#told >= maxToldPerSecond) {
      for (const id of ids) this.#dropped.set(id, (this.#dropped.get(id) ?? 0) + 1);
      return;
    }
    this.#told += 1;
    const { operation, request } = answered;
    this.#say({ for: ids, ...toldOf(answered, this.#options.sourceOf(operation, domainOf(operation, request))) });
  }

  /** With a reply subject it is answered, so that who watches knows how many workers he hears. */
  #receive(message: Msg): void {
    const { nats, worker } = this.#options;
    const encoding = encodingOf(message.data);
    const answer = (payload: object) => {
      if (isInbox(message.reply)) nats.publish(message.reply, encodePayload(payload, encoding));
    };
    try {
      const { id, filter } = readWatchRequest(decodePayload(message.data, encoding));
      this.#open(id, filter);
      answer({ v: 1, worker });
    } catch (error) {
      const { kind } = asFailure(error);
      answer({ v: 1, failure: kind, text: failures[kind].text });
    }
  }

  /** @throws Failure `overloaded` */
  #open(id: string, filter: WatchFilter): void {
    if (this.#watchers.size >= maxWatchers && !this.#watchers.has(id))
      throw new Failure('overloaded', `${maxWatchers} watch already`);
    this.#watchers.set(id, { filter, untilMs: this.#options.clock.now() + watchMs });
    this.isOpen = true;
    this.#window ??= setInterval(() => this.#endWindow(), windowMs);
  }

  #endWindow(): void {
    this.#told = 0;
    if (this.#dropped.size > 0) {
      this.#say({ dropped: Object.fromEntries(this.#dropped) });
      this.#dropped.clear();
    }
    const nowMs = this.#options.clock.now();
    for (const [id, { untilMs }] of this.#watchers) if (untilMs < nowMs) this.#watchers.delete(id);
    if (this.#watchers.size > 0) return;
    this.isOpen = false;
    clearInterval(this.#window);
    this.#window = undefined;
  }

  #say(what: object): void {
    const { nats, prefix, worker } = this.#options;
    // Nothing may throw here: the request has been answered already.
    if (nats.isClosed() || nats.isDraining()) return;
    const bytes = encodePayload({ v: 1, worker, at: Date.now(), ...what }, 'json');
    if (bytes.length <= (nats.info?.max_payload ?? Infinity)) nats.publish(decisionsSubject(prefix), bytes);
  }
}
