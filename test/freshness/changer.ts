/** Makes changes true and then known, and writes down when each was acknowledged under which number. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { watchMembers } from '../../src/commands/flush-wait.ts';
import { publishUntilAcknowledged } from '../../src/nats/publish.ts';
import { nowUs, pause } from './clock.ts';
import { randomChange, scopeName } from './population.ts';
import type { Random } from './random.ts';
import type { Truth } from './truth.ts';

/** A change that was acknowledged. */
export interface MadeChange {
  /** Answers with at least this version know of it. */
  readonly version: number;
  readonly scope: string;
  readonly sequence: number;
  readonly acknowledgedAtUs: number;
  /** When a `flush --wait` for it returned. */
  readonly reachedAtUs: number | undefined;
}

const maxOutstanding = 16;
/** Of changes that wait until everyone has seen them. */
const waitingShare = 0.05;

export class Changer {
  readonly made: MadeChange[] = [];
  readonly #truth: Truth;
  readonly #random: Random;
  readonly #prefix: string;
  readonly #perSecond: number;
  #nats: NatsConnection | undefined;
  #running: Promise<void> | undefined;
  #outstanding = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(truth: Truth, random: Random, prefix: string, perSecond: number) {
    this.#truth = truth;
    this.#random = random;
    this.#prefix = prefix;
    this.#perSecond = perSecond;
  }

  async start(servers: string[]): Promise<void> {
    this.#nats = await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 100, pingInterval: 1_000 });
    this.#running = this.#run(this.#nats);
  }

  /** Ends with what is on its way acknowledged or given up. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await Promise.all(this.#outstanding);
    await this.#nats?.close();
  }

  async #run(nats: NatsConnection): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await pause((this.#random.next() * 2_000) / this.#perSecond);
      if (this.#outstanding.size >= maxOutstanding) continue;
      const making = this.#make(nats).finally(() => this.#outstanding.delete(making));
      this.#outstanding.add(making);
    }
  }

  async #make(nats: NatsConnection): Promise<void> {
    const change = randomChange(this.#random);
    const isWaiting = this.#random.next() < waitingShare;
    try {
      const members = isWaiting ? await watchMembers(nats, this.#prefix).catch(() => undefined) : undefined;
      const version = this.#truth.change();
      const signal = this.#stopping.signal;
      const sequence = await publishUntilAcknowledged(nats, this.#prefix, change, 'checker', signal, () => undefined);
      const acknowledgedAtUs = nowUs();
      await members?.untilReached(sequence);
      const reachedAtUs = members === undefined ? undefined : nowUs();
      this.made.push({ version, scope: scopeName(change), sequence, acknowledgedAtUs, reachedAtUs });
    } catch {
      // Not acknowledged when the run ended: nobody was promised anything.
    }
  }
}
