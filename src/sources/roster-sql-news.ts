/**
 * From notifications to changes: reads what a trigger sent, and says each user's change once however often it is
 * announced within a moment. It knows nothing of the connection that brings them.
 */
import type { Change } from '../changes.ts';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import type { SourceContext } from './source.ts';

/** A change of several rows in several transactions is one for those who look at the roster. */
const settleMs = 20;

/** Everybody who is online asks anew after this one: not more often than they can. */
const everybodyEveryMs = 1_000;

/** Changes that are on their way to the broker at once. */
const maxUnderWay = 64;

/** The whole is cheaper than so many by themselves, and what waits is bounded. */
const maxWaiting = 100_000;

const maxLoggedLength = 200;

/** The users that a payload names; undefined when it names none, or is not understood. */
export function usersIn(payload: string, defaultHost: string | undefined): string[] | undefined {
  const words = payload.split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return undefined;
  try {
    return words.map((word) => parseBareJid(word.includes('@') ? word : `${word}@${defaultHost ?? ''}`).bare);
  } catch (error) {
    if (!(error instanceof InvalidJid)) throw error;
    return undefined;
  }
}

export interface NewsOptions {
  readonly channel: string;
  readonly defaultHost: string | undefined;
}

export class News {
  readonly #options: NewsOptions;
  readonly #context: Pick<SourceContext, 'changed' | 'clock' | 'log'>;
  readonly #reason: string;
  /** The users whose changes are not published yet, in the order in which they were heard of. */
  readonly #users = new Set<string>();
  #everybody = false;
  /** Since when something waits. */
  #waitingSinceMs: number | undefined;
  #everybodyAtMs = -Infinity;
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: NewsOptions, context: Pick<SourceContext, 'changed' | 'clock' | 'log'>) {
    this.#options = options;
    this.#context = context;
    this.#reason = `NOTIFY ${options.channel}`;
  }

  /** Since when something is known here that is not known to those who remember rosters; undefined: there is nothing. */
  get waitingSinceMs(): number | undefined {
    return this.#waitingSinceMs;
  }

  hear(payload: string): void {
    const { channel, defaultHost } = this.#options;
    const users = usersIn(payload, defaultHost);
    if (users !== undefined) {
      for (const user of users) this.#users.add(user);
      if (this.#users.size > maxWaiting) this.#everybody = true;
    } else {
      if (!this.#everybody) {
        const shown = payload.slice(0, maxLoggedLength);
        this.#context.log.warn(
          { channel, payload: shown },
          'notification names no user: every roster may have changed',
        );
      }
      this.#everybody = true;
    }
    this.#waitingSinceMs ??= this.#context.clock.now();
    this.#wait(settleMs);
  }

  /** At once: every roster may have changed. */
  everybody(reason: string): void {
    this.#everybody = false;
    this.#users.clear();
    this.#waitingSinceMs = undefined;
    this.#everybodyAtMs = this.#context.clock.now();
    void this.#context.changed({ operation: 'roster-refresh' }, reason);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wait(ms: number): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#publish();
    }, ms);
  }

  #publish(): void {
    if (this.#stopped) return;
    if (this.#everybody) {
      const restMs = this.#everybodyAtMs + everybodyEveryMs - this.#context.clock.now();
      if (restMs > 0) return this.#wait(restMs);
      this.everybody(this.#reason);
    }
    for (const user of this.#users) {
      if (this.#underWay === maxUnderWay) return;
      this.#users.delete(user);
      void this.#say({ user });
    }
    if (this.#timer === undefined) this.#waitingSinceMs = undefined;
  }

  async #say(change: Change): Promise<void> {
    this.#underWay += 1;
    await this.#context.changed(change, this.#reason);
    this.#underWay -= 1;
    this.#publish();
  }
}
