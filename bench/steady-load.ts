/** Questions at a steady rate, whether or not the ones before were answered, as XMPP clients send their stanzas. */
import { setTimeout as delay } from 'node:timers/promises';
import type { HookAsker, Outcome } from '../test/servers/hook-asker.ts';

/** One question and what became of it. */
export interface Asked extends Outcome {
  /** When it was asked, in milliseconds since the load began. */
  readonly atMs: number;
}

const tickMs = 5;

/**
 * Asks `perSecond` questions a second for `durationMs`.
 * @param pairOf the two JIDs of the question with this number
 * @returns what became of each, once all have ended
 */
export async function steadyLoad(
  asker: HookAsker,
  perSecond: number,
  durationMs: number,
  pairOf: (number: number) => readonly [from: string, to: string],
): Promise<readonly Asked[]> {
  const beganMs = performance.now();
  const asked: Promise<Asked>[] = [];
  const total = Math.round((perSecond * durationMs) / 1_000);
  while (asked.length < total) {
    const dueNow = Math.min(total, Math.ceil(((performance.now() - beganMs) * perSecond) / 1_000));
    while (asked.length < dueNow) {
      const atMs = performance.now() - beganMs;
      asked.push(asker.ask(...pairOf(asked.length)).then((outcome) => ({ ...outcome, atMs })));
    }
    await delay(tickMs);
  }
  return Promise.all(asked);
}

/** Users who have never asked before, so that nothing is remembered: each number another two. */
export function strangers(name: string): (number: number) => readonly [string, string] {
  return (number) => [`${name}${number}@example.org/phone`, `friend${number}@example.org`];
}

/** The same pairs of users again and again. */
export function acquaintances(count: number): (number: number) => readonly [string, string] {
  return (number) => [`user${number % count}@example.org/phone`, `friend${number % count}@example.org`];
}

export function isDecided({ word, isDegraded }: Outcome): boolean {
  return word === 'allow' && !isDegraded;
}

/** How often each word, the most frequent first. */
export function words(outcomes: readonly Outcome[]): string {
  const counts = new Map<string, number>();
  for (const { word, isDegraded } of outcomes) {
    const name = isDegraded ? `${word} (degraded)` : word;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const sorted = [...counts].toSorted(([, one], [, other]) => other - one);
  return sorted.map(([word, count]) => `${count.toLocaleString('en')} ${word}`).join(', ');
}
