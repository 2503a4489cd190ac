/**
 * `<prefix>.ctl.hook-stats`: hooks tell the queue group what they have counted, and one worker counts it. A hook repeats a
 * report, under the same number, until it is acknowledged; so that a repetition is not counted by another worker, who has
 * counted says so to all (`<prefix>.ctl.hook-counted`) before it acknowledges. What remains: a worker that ends, or is cut
 * off, between counting and saying so.
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import { LRUCache } from 'lru-cache';
import type { z } from 'zod';
import type { HookCounts } from '../observe/hook-counts.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import { hookCounted, hookReport } from '../wire/hook-stats.ts';
import type { HookCounted } from '../wire/hook-stats.ts';
import { isInbox, queueGroup } from './subjects.ts';

/** A node that comes back after being cut off repeats its last report, however long ago that was. */
const maxBoots = 10_000;
const maxReportBytes = 64 * 1024;

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

  const receive = (message: Msg): void => {
    const report = readPayload(hookReport, message.data);
    if (report === undefined || !isInbox(message.reply)) {
      counts.reports.refused += 1;
      return;
    }
    if (isCounted(report)) counts.reports.repeated += 1;
    else {
      counted.set(report.boot_id, report.number);
      counts.count(report);
      counts.reports.counted += 1;
    }
    counts.heard(report);
    const { v, boot_id, name, kind, version, number, gauges } = report;
    const word: HookCounted = { v, boot_id, name, kind, version, number, gauges };
    // In this order on one connection, so that whoever gets a repetition has heard of it.
    nats.publish(hookCountedSubject(prefix), encodePayload(word, 'messagepack'));
    nats.publish(message.reply, encodePayload({ v: 1, number }, encodingOf(message.data)));
  };

  const hear = (message: Msg): void => {
    const word = readPayload(hookCounted, message.data);
    if (word === undefined) return;
    if (!isCounted(word)) counted.set(word.boot_id, word.number);
    counts.heard(word);
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
