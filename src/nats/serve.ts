/**
 * From a request on the wire to its reply: the queue group, the deadline, the one catch. Always a reply, whatever goes
 * wrong below; the one silence is for a reply subject that is no inbox.
 *
 * A callback that throws would close the whole connection (nats.js), and nats.js awaits no handler: both are dealt with
 * here and nowhere else. What is remembered is answered synchronously, since a promise per request costs more than the
 * decision.
 */
import { headers } from 'nats';
import type { Msg, NatsConnection, Subscription } from 'nats';
import type { Logger } from 'pino';
import type { Parts } from '../checks/ask.ts';
import type { Clock } from '../clock.ts';
import { asFailure, Failure, failures } from '../failures.ts';
import type { FailureKind } from '../failures.ts';
import { operations } from '../operations.ts';
import { decodePayload, decodeRequest, encodePayload, failureReplyOf } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import type { Encoding } from '../wire/encoding.ts';
import { operationNames } from '../wire/operation.ts';
import type { Operation } from '../wire/operation.ts';
import type { Reply } from '../wire/replies.ts';
import type { Liveness } from './liveness.ts';
import { createOperationStats } from './stats.ts';
import type { OperationStats } from './stats.ts';
import { isInbox, queueGroup, requestSubject } from './subjects.ts';

/** One request and what became of it, for who wants to watch. */
export interface Answered {
  readonly operation: Operation;
  /** The validated request; undefined when it was not valid. */
  readonly request: unknown;
  readonly reply: Reply | FailureKind;
  readonly tookMs: number;
  /** Nothing had to be waited for: a decision that was remembered, or that nobody has to make. */
  readonly isAtOnce: boolean;
}

export interface ServeOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly parts: Parts;
  readonly clock: Clock;
  readonly liveness: Liveness;
  readonly log: Logger;
  readonly maxInFlight: number;
  readonly onAnswered?: ((answered: Answered) => void) | undefined;
  /** Is told as long as it is open. */
  readonly watch?: { readonly isOpen: boolean; see(answered: Answered): void };
}

/** One request on its way. */
interface Exchange {
  readonly message: Msg;
  readonly inbox: string;
  readonly operation: Operation;
  readonly encoding: Encoding;
  readonly startedMs: number;
  id: string;
  request: unknown;
  isAtOnce: boolean;
}

/**
 * Far above any request of a hook; brokers may be set to carry 64 MiB, and decoding that would stop everything else for
 * seconds. A request of this size takes 0.3 s at the worst.
 */
const maxRequestBytes = 1024 * 1024;

export class RequestServer {
  readonly #options: ServeOptions;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #draining = new Set<Promise<void>>();
  #subscriptions: Subscription[] = [];
  readonly stats = Object.fromEntries(operationNames.map((name) => [name, createOperationStats()])) as Record<
    Operation,
    OperationStats
  >;
  /** Requests whose reply subject was no inbox. */
  refusedReplySubjects = 0;

  constructor(options: ServeOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Whether it is asked; not before it was started, nor after it has left. */
  get isMember(): boolean {
    return this.#subscriptions.length > 0;
  }

  /** Joins the queue group of every operation. */
  start(): void {
    const { nats, prefix, log } = this.#options;
    if (nats.isClosed() || nats.isDraining()) return;
    this.#subscriptions = operationNames.map((operation) =>
      nats.subscribe(requestSubject(prefix, operation), {
        queue: queueGroup,
        callback: (error, message) => {
          if (error === null) this.#receive(operation, message);
          else log.error({ operation, detail: error.message }, 'subscription failed');
        },
      }),
    );
  }

  /** Leaves the queue group and can be started again. What had arrived is answered. */
  leave(): void {
    for (const subscription of this.#subscriptions.splice(0)) {
      // Where the connection ends meanwhile, so does whoever waited.
      const drained = subscription.drain().catch(() => undefined);
      this.#draining.add(drained);
      void drained.then(() => this.#draining.delete(drained));
    }
  }

  /**
   * Leaves the queue group, then waits for the answers to what had arrived, and flushes them; for at most `timeoutMs`
   * in all, since a broker that is gone answers neither.
   */
  async stop(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#drain(), patience]);
    clearTimeout(timer);
  }

  /** Draining a subscription does not wait for handlers that still work (nats.js), so they are counted here. */
  async #drain(): Promise<void> {
    const { nats, log } = this.#options;
    this.leave();
    try {
      await Promise.all(this.#draining);
      await Promise.all(this.#inFlight);
      await nats.flush();
    } catch (error) {
      // The connection ended meanwhile, and with it whoever waited.
      log.warn({ detail: String(error) }, 'drained without the broker');
    }
  }

  #receive(operation: Operation, message: Msg): void {
    const inbox = message.reply;
    if (!isInbox(inbox)) {
      this.refusedReplySubjects += 1;
      return;
    }
    const { clock } = this.#options;
    const encoding = encodingOf(message.data);
    const exchange: Exchange = {
      message,
      inbox,
      operation,
      encoding,
      startedMs: clock.now(),
      id: '',
      request: undefined,
      isAtOnce: false,
    };
    try {
      const reply = this.#answer(exchange);
      if (!(reply instanceof Promise)) {
        exchange.isAtOnce = true;
        this.#respond(exchange, reply);
        return;
      }
      const done = reply
        .then((settled) => this.#respond(exchange, settled))
        .catch((error: unknown) => this.#fail(exchange, error))
        .finally(() => this.#inFlight.delete(done));
      this.#inFlight.add(done);
    } catch (error) {
      this.#fail(exchange, error);
    }
  }

  #answer(exchange: Exchange): Reply | Promise<Reply> {
    const { parts, liveness, maxInFlight } = this.#options;
    const { data } = exchange.message;
    if (data.length > maxRequestBytes) throw new Failure('too-large', `${data.length} bytes of ${maxRequestBytes}`);
    const payload = decodePayload(data, exchange.encoding);
    if (typeof payload['id'] === 'string') exchange.id = payload['id'].slice(0, 64);
    const row = operations[exchange.operation];
    const request = decodeRequest(row.form, payload);
    exchange.request = request;
    const deadlineMs = liveness.aliveAtMs + request.budget_ms;
    if (exchange.startedMs >= deadlineMs)
      throw new Failure('expired', 'the budget had passed when the request was read');
    if (this.#inFlight.size >= maxInFlight) throw new Failure('overloaded', `${maxInFlight} requests are in flight`);
    return row.check(request, { askedAtMs: exchange.startedMs, deadlineMs }, parts);
  }

  #respond(exchange: Exchange, reply: Reply): void {
    const { nats } = this.#options;
    const bytes = encodePayload(reply, exchange.encoding);
    const maxBytes = nats.info?.max_payload ?? Infinity;
    if (bytes.length > maxBytes) throw new Failure('too-large', `the reply has ${bytes.length} of ${maxBytes} bytes`);
    nats.publish(exchange.inbox, bytes);
    this.#account(exchange, reply);
  }

  #fail(exchange: Exchange, thrown: unknown): void {
    const { nats, log } = this.#options;
    const failure = asFailure(thrown);
    const { kind } = failure;
    const { operation, id } = exchange;
    if (kind === 'internal') log.error({ operation, id, err: failure.cause ?? failure }, 'request failed');
    else log.debug({ operation, id, kind, detail: failure.message }, 'request failed');
    const stats = this.stats[operation];
    stats.failures[kind] += 1;
    if (kind === 'overloaded' || kind === 'expired') stats.shed[kind] += 1;
    stats.lastError = `${kind}: ${failures[kind].text}`;
    this.#account(exchange, kind);
    // Publishing would throw, and nobody above catches: whoever asked went with the connection.
    if (nats.isClosed() || nats.isDraining()) return;
    const header = headers();
    header.set('Nats-Service-Error', failures[kind].text);
    header.set('Nats-Service-Error-Code', String(failures[kind].code));
    nats.publish(exchange.inbox, encodePayload(failureReplyOf(kind, id), exchange.encoding), { headers: header });
  }

  #account(exchange: Exchange, reply: Reply | FailureKind): void {
    const { clock, onAnswered, watch } = this.#options;
    const tookMs = clock.now() - exchange.startedMs;
    this.stats[exchange.operation].latency.observe(tookMs / 1_000);
    const { operation, request, isAtOnce } = exchange;
    onAnswered?.({ operation, request, reply, tookMs, isAtOnce });
    if (watch?.isOpen === true) watch.see({ operation, request, reply, tookMs, isAtOnce });
  }
}
