/**
 * Who is there: every worker and hook says every second who it is and which sequence it has seen. Who was not heard for
 * 30 seconds is gone. Workers keep the list and hand it to whoever wants to know when a change has reached everyone.
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import { z } from 'zod';
import type { Clock } from '../clock.ts';
import type { HookState } from '../observe/hook-counts.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import { optional, wholeNumber } from '../wire/fields.ts';
import { hookGauges } from '../wire/hook-stats.ts';
import { isInbox, queueGroup } from './subjects.ts';

const announceMs = 1_000;
/** A change is announced at once, but not every one of a thousand in a second. */
const announceAfterChangeMs = 100;
const goneMs = 30_000;
/** Who takes part in the queue group has said so since: who is later than that may have been stopped. */
const servingMs = 1_500;
/** More than any cluster has; a bound all the same, since anyone who may announce could fill the list. */
const maxMembers = 10_000;

/** What is said on `<prefix>.ctl.seen`. */
export const announcement = z.object({
  v: z.literal(1),
  kind: z.enum(['worker', 'hook']),
  /** Changes with every start. */
  boot_id: z.string().min(1).max(64),
  /** The name of the node, for people. */
  name: z.string().max(256),
  seen: wholeNumber,
  version: optional(z.string().max(64)),
  away: optional(z.boolean()).meta({ description: 'of a worker: it is in no queue group now, and is not asked' }),
});

export type Announcement = z.output<typeof announcement>;

/** What is answered on `<prefix>.ctl.members`. */
export const membersReport = z.object({
  v: z.literal(1),
  bound_ms: z.number(),
  members: z.array(
    announcement.extend({
      heard_ms: z.number().meta({ description: 'how long ago' }),
      server: optional(z.string()).meta({ description: 'of a hook that reports what it counts: prosody or ejabberd' }),
      gauges: optional(hookGauges).meta({ description: 'of its last report' }),
    }),
  ),
});

export type MembersReport = z.output<typeof membersReport>;

/** Undefined for what is no announcement. */
export function readAnnouncement(bytes: Uint8Array): Announcement | undefined {
  try {
    return announcement.safeParse(decodePayload(bytes, encodingOf(bytes))).data;
  } catch {
    // Nobody waits for an answer to it.
    return undefined;
  }
}

export function seenSubject(prefix: string): string {
  return `${prefix}.ctl.seen`;
}

export function membersSubject(prefix: string): string {
  return `${prefix}.ctl.members`;
}

export interface MembersOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly clock: Clock;
  /** Who this worker is, without what changes. */
  readonly self: { readonly bootId: string; readonly name: string; readonly version: string };
  readonly seen: () => number;
  /** Whether this worker is in no queue group for now. */
  readonly isAway: () => boolean;
  /** What the hooks that are there have last reported. */
  readonly hooks: () => readonly HookState[];
  /** The staleness bound, for who waits for everyone. */
  readonly boundMs: number;
}

export class Members {
  readonly #options: MembersOptions;
  readonly #members = new Map<string, { said: Announcement; heardAtMs: number }>();
  readonly #subscriptions: Subscription[] = [];
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #announcedAtMs = -Infinity;

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  start(): void {
    const { nats, prefix } = this.#options;
    const listen = (subject: string, queue: string | undefined, receive: (message: Msg) => void) =>
      this.#subscriptions.push(
        nats.subscribe(subject, {
          ...(queue === undefined ? {} : { queue }),
          callback: (error, message) => (error === null ? receive(message) : undefined),
        }),
      );
    listen(seenSubject(prefix), undefined, (message) => this.#hear(message));
    listen(membersSubject(prefix), queueGroup, (message) => {
      if (isInbox(message.reply)) nats.publish(message.reply, encodePayload(this.report(), 'json'));
    });
    this.#announce();
    this.#timer = setInterval(() => this.#announce(), announceMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    if (this.#options.nats.isClosed()) return;
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  /** To be called when a change was applied. What comes too soon after the last announcement is put off, not left out. */
  changeApplied(): void {
    const waitMs = this.#announcedAtMs + announceAfterChangeMs - this.#options.clock.now();
    if (waitMs <= 0) this.#announce();
    else this.#soon ??= setTimeout(() => this.#announce(), waitMs);
  }

  /** To be called when this worker has left the queue group or come back. */
  membershipChanged(): void {
    this.#announce();
  }

  /** Whether another worker was heard lately that takes part in the queue group. */
  othersServe(): boolean {
    const { clock, self } = this.#options;
    const sinceMs = clock.now() - servingMs;
    for (const { said, heardAtMs } of this.#members.values()) {
      const isOther = said.kind === 'worker' && said.boot_id !== self.bootId;
      if (isOther && said.away !== true && heardAtMs >= sinceMs) return true;
    }
    return false;
  }

  /** Everyone heard within the last 30 seconds. */
  report(): MembersReport {
    const nowMs = this.#options.clock.now();
    for (const [bootId, { heardAtMs }] of this.#members) {
      if (nowMs - heardAtMs > goneMs) this.#members.delete(bootId);
    }
    const states = new Map(this.#options.hooks().map((state) => [state.node, state]));
    const members = [...this.#members.values()].map(({ said, heardAtMs }) => {
      const state = said.kind === 'hook' ? states.get(said.name) : undefined;
      const reported = state && { server: state.kind, version: said.version ?? state.version, gauges: state.gauges };
      return { ...said, heard_ms: Math.round(nowMs - heardAtMs), ...reported };
    });
    return { v: 1, bound_ms: this.#options.boundMs, members };
  }

  #announce(): void {
    const { nats, prefix, clock, self, seen, isAway } = this.#options;
    clearTimeout(this.#soon);
    this.#soon = undefined;
    if (nats.isClosed()) return;
    this.#announcedAtMs = clock.now();
    const { bootId, name, version } = self;
    const away = isAway() ? true : undefined;
    const said: Announcement = { v: 1, kind: 'worker', boot_id: bootId, name, seen: seen(), version, away };
    nats.publish(seenSubject(prefix), encodePayload(said, 'json'));
  }

  #hear(message: Msg): void {
    const said = readAnnouncement(message.data);
    if (said === undefined) return;
    if (this.#members.size >= maxMembers && !this.#members.has(said.boot_id)) return;
    this.#members.set(said.boot_id, { said, heardAtMs: this.#options.clock.now() });
  }
}
