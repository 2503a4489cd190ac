/** XMPP servers that deliver the same messages in turn, round after round, and how they compare. Knows no server. */
import { cpuMsOf } from './cpu.ts';
import type { MessageLoad } from './load-xmpp.ts';
import { quantile } from './stopwatch.ts';
import { median } from './table.ts';

export interface Contender {
  /** Of the server. */
  readonly pid: number;
  readonly load: MessageLoad;
  readonly samples: MessageSample[];
  /** How many questions whoever decides for it was asked until now. */
  questions(): Promise<number>;
}

export interface MessageSample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the server, a message. */
  readonly cpuUs: number;
  /** Questions, a message. */
  readonly asked: number;
}

export interface Rounds {
  readonly rounds: number;
  /** Messages of each pair of clients under way. */
  readonly window: number;
  readonly warmUpMs: number;
  readonly runMs: number;
}

/** Adds a sample to each in each round. @throws Error when a message does not arrive */
export async function measureInTurn(
  contenders: readonly Contender[],
  { rounds, window, warmUpMs, runMs }: Rounds,
): Promise<void> {
  for (const { load } of contenders) await load.run(window, warmUpMs);
  for (let round = 0; round < rounds; round += 1) {
    // Another one first each time.
    const first = round % contenders.length;
    for (const { pid, load, samples, questions } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      const askedBefore = await questions();
      const beforeMs = cpuMsOf(pid);
      const { messages: count, seconds, latenciesMs } = await load.run(window, runMs);
      samples.push({
        perSecond: count / seconds,
        p50Ms: quantile(latenciesMs, 0.5),
        p99Ms: quantile(latenciesMs, 0.99),
        cpuUs: ((cpuMsOf(pid) - beforeMs) * 1_000) / count,
        asked: ((await questions()) - askedBefore) / count,
      });
    }
  }
}

export function medianOf(samples: readonly MessageSample[], figure: keyof MessageSample): number {
  return median(samples.map((sample) => sample[figure]));
}

/** The median of each round's own ratio, so that what disturbs a whole round falls out. */
export function ratioOf(
  samples: readonly MessageSample[],
  to: readonly MessageSample[],
  figure: keyof MessageSample,
): number {
  return median(samples.map((sample, round) => sample[figure] / (to[round]?.[figure] ?? Number.NaN)));
}
