/** What `flush.ts` has measured, as a table. */
import type { Cost, FlushResult } from './flush.ts';
import { markdownTable } from './table.ts';

const titles: Readonly<Record<keyof FlushResult['costs'], readonly [what: string, of: string]>> = {
  hit: ['a hit', 'nothing has changed since'],
  applyOne: ['a change with its number', 'of a user in one decision'],
  missOne: ['the next question', 'which is a miss'],
  applyMany: ['a change with its number', 'of a user in 100,000 decisions'],
  missMany: ['the next question', 'which is a miss'],
  hearOne: ['a change without number', 'of a user in one decision'],
  hearMany: ['a change without number', 'of a user in 100,000 decisions'],
  hitAfter: ['a hit', 'of what no change has named'],
  applyAll: ['a change with its number', 'of everything'],
};

export function flushReport({ remembered, heapBytes, residentBytes, fillSeconds, costs }: FlushResult): string {
  const rows = Object.entries(titles).map(([name, words]) => {
    const { p50, p99, most }: Cost = costs[name as keyof typeof titles];
    return [...words, ...[p50, p99, most].map((one) => one.toFixed(1))];
  });
  const mib = (bytes: number) => Math.round(bytes / 1_048_576).toLocaleString('en');
  return [
    markdownTable([`of ${remembered.toLocaleString('en')} decisions`, '', 'p50 µs', 'p99 µs', 'most'], rows),
    '',
    `They weigh ${mib(heapBytes)} MiB of heap (${Math.round(heapBytes / remembered)} bytes each), ` +
      `${mib(residentBytes)} MiB resident; looked up and remembered in ${fillSeconds.toFixed(1)} s.`,
  ].join('\n');
}
