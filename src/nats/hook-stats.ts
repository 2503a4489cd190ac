/**
 * `<prefix>.ctl.hook-stats`: hooks tell the queue group what they have counted, and one worker counts it. A hook repeats a
 * report, under the same number, until it is acknowledged; so that a repetition is not counted by another worker, who has
 * counted says so to all (`<prefix>.ctl.hook-counted`) before it acknowledges. Where workers or the broker stand still, both
 * may reach two workers at the same moment: so each claims a report first, and counts what nobody else has claimed. What
 * remains: a worker that ends, or is cut off, between counting and saying so.
 */
import { randomUUID } from 'node:crypto';
import type { Msg, NatsConnection, Subscription } from 'nats';
import { LRUCache } from 'lru-cache';
import type { z } from 'zod';
import type { HookCounts } from '../observe/hook-counts.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import { hookCounted, hookReport } from '../wire/hook-stats.ts';
import type { HookCounted, HookReport } from '../wire/hook-stats.ts';
import { isInbox, queueGroup } from './subjects.ts';

/** A node that comes back after being cut off repeats its last report, however long ago that was. */
const maxBoots = 10_000;
const maxReportBytes = 64 * 1024;
/** For a word to reach every worker; a hook waits two seconds for its acknowledgement. */
const claimMs = 250;
/** Further ones are not heard; their hooks come again. */
const maxClaims = 10_000;

/** A report that will be counted unless another worker does so. */
interface Claim {
  readonly report: HookReport;
  /** With this one, how often it has come. */
  readonly messages: [Msg, ...Msg[]];
  readonly timer: NodeJS.Timeout;
}

export function hookStatsSubject(prefix: string): string {
  return `${prefix}.ctl.hook-stats`;
}

export function hookCountedSubject(prefix: string): string {
  return `${prefix}.ctl.hook-counted`;
}

export interface HookStatsOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly counts: HookCounts;
}

/** Counts until stopped. */
export function startHookStats({ nats, prefix, counts }: HookStatsOptions): { stop(): void } {
  /** The last number that was counted, here or elsewhere, by boot id. A hook has but one report under way. */
  const counted = new LRUCache<string, number>({ max: maxBoots });
  const isCounted = ({ boot_id, number }: HookCounted): boolean => number <= (counted.get(boot_id) ?? 0);

  const me = randomUUID();
  const claims = new Map<string, Claim>();
  const keyOf = ({ boot_id, number }: HookCounted): string => `${number} ${boot_id}`;

  const say = ({ v, boot_id, name, kind, version, number, gauges }: HookReport, claim?: string): void => {
    const word: HookCounted = { v, boot_id, name, kind, version, number, gauges, claim };
    nats.publish(hookCountedSubject(prefix), encodePayload(word, 'messagepack'));
  };

  /** In this order on one connection, so that whoever gets a repetition has heard of it. */
  const acknowledge = (report: HookReport, message: Msg): void => {
    counts.heard(report);
    say(report);
    nats.publish(message.reply ?? '', encodePayload({ v: 1, number: report.number }, encodingOf(message.data)));
  };

  const release = (key: string): void => {
    clearTimeout(claims.get(key)?.timer);
    claims.delete(key);
  };

  const settle = (key: string): void => {
    const claim = claims.get(key);
    if (claim === undefined || nats.isClosed()) return;
    const { report, messages } = claim;
    release(key);
    if (isCounted(report)) counts.reports.repeated += messages.length;
    else {
      counted.set(report.boot_id, report.number);
      counts.count(report);
      counts.reports.counted += 1;
      counts.reports.repeated += messages.length - 1;
    }
    for (const message of messages) acknowledge(report, message);
  };

  const receive = (message: Msg): void => {
    const report = readPayload(hookReport, message.data);
    if (report === undefined || !isInbox(message.reply)) {
      counts.reports.refused += 1;
      return;
    }
    if (isCounted(report)) {
      counts.reports.repeated += 1;
      acknowledge(report, message);
      return;
    }
    const key = keyOf(report);
    const claimed = claims.get(key);
    if (claimed !== undefined) {
      claimed.messages.push(message);
    } else if (claims.size < maxClaims) {
      claims.set(key, { report, messages: [message], timer: setTimeout(() => settle(key), claimMs) });
      say(report, me);
    }
  };

  const hear = (message: Msg): void => {
    const word = readPayload(hookCounted, message.data);
    if (word === undefined) return;
    const { claim } = word;
    if (claim === undefined) {
      counts.heard(word);
      if (!isCounted(word)) counted.set(word.boot_id, word.number);
      return;
    }
    const mine = claims.get(keyOf(word));
    if (mine === undefined || claim === me) return;
    // Who got it later has not heard of the first claim.
    if (claim > me) say(mine.report, me);
    else release(keyOf(word));
  };

  const listen = (subject: string, handle: (message: Msg) => void, queue?: string): Subscription =>
    nats.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => (error === null ? handle(message) : undefined),
    });
  const subscriptions = [
    listen(hookCountedSubject(prefix), hear),
    listen(hookStatsSubject(prefix), receive, queueGroup),
  ];
  return {
    stop: () => {
      for (const key of claims.keys()) release(key);
      if (nats.isClosed()) return;
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}

/** Undefined for what is none; nobody is told, since nothing that a hook sends by mistake gets better by repeating it. */
function readPayload<T extends z.ZodType>(schema: T, bytes: Uint8Array): z.output<T> | undefined {
  if (bytes.length > maxReportBytes) return undefined;
  try {
    return schema.safeParse(decodePayload(bytes, encodingOf(bytes))).data;
  } catch {
    return undefined;
  }
}
