/** The samples as a table that can be read and pasted, with ratios to the echo and to what is aimed at. */
import { outstandings } from './measure.ts';
import type { Measured, Sample } from './measure.ts';
import { names } from './responders.ts';
import type { Name } from './responders.ts';

type Figure = keyof Sample;

const titles: Record<Name, string> = {
  echo: 'echo, bare nats.js',
  worker: 'Warder worker',
  http: 'node:http service',
};

interface Aim {
  readonly text: string;
  readonly figure: Figure;
  readonly outstanding: readonly number[];
  readonly reached: (ratio: number) => boolean;
}

/** What the worker is meant to cost, as ratios to the echo. */
const aims: readonly Aim[] = [
  {
    text: 'CPU time a request at most 1.5 times the echo’s',
    figure: 'cpuUs',
    outstanding: outstandings,
    reached: (ratio) => ratio <= 1.5,
  },
  {
    text: 'throughput at 512 outstanding at least 75 % of the echo’s',
    figure: 'perSecond',
    outstanding: [512],
    reached: (ratio) => ratio >= 0.75,
  },
  {
    text: 'p50 at 1 outstanding at most 1.15 times the echo’s',
    figure: 'p50Us',
    outstanding: [1],
    reached: (ratio) => ratio <= 1.15,
  },
];

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The whole report, in Markdown. */
export function report({ samples, replies, foreignShare }: Measured): string {
  const valuesOf = (name: Name, outstanding: number, figure: Figure): number[] =>
    (samples[name].get(outstanding) ?? []).map((sample) => sample[figure]);
  /** The median of each round's own ratio: what disturbs a whole round falls out. */
  const ratioOf = (name: Name, outstanding: number, figure: Figure): number => {
    const echo = valuesOf('echo', outstanding, figure);
    return median(valuesOf(name, outstanding, figure).map((value, round) => value / (echo[round] ?? Number.NaN)));
  };
  const cell = (name: Name, outstanding: number, figure: Figure): string => {
    const value = median(valuesOf(name, outstanding, figure));
    const ratio = name === 'echo' ? '' : ` (${ratioOf(name, outstanding, figure).toFixed(2)})`;
    return `${figure === 'perSecond' ? Math.round(value).toLocaleString('en') : value.toFixed(1)}${ratio}`;
  };
  const rows = outstandings.flatMap((outstanding) =>
    names.map((name) => [
      String(outstanding),
      titles[name],
      cell(name, outstanding, 'cpuUs'),
      cell(name, outstanding, 'perSecond'),
      cell(name, outstanding, 'p50Us'),
      cell(name, outstanding, 'p99Us'),
      name === 'http' ? '–' : median(valuesOf(name, outstanding, 'brokerCpuUs')).toFixed(1),
    ]),
  );
  const head = ['outstanding', 'responder', 'CPU µs a request', 'requests/s', 'p50 µs', 'p99 µs', 'broker CPU µs'];
  const aimed = aims.map(({ text, figure, outstanding, reached }) => {
    const ratios = outstanding.map((one) => ratioOf('worker', one, figure));
    const found = ratios.map((ratio) => ratio.toFixed(2)).join(', ');
    return `- ${ratios.every(reached) ? 'reached' : 'MISSED'}: ${text}: ${found}`;
  });
  return [
    markdownTable(head, rows),
    '',
    'In brackets the ratio to the echo. The worker:',
    ...aimed,
    '',
    `${replies.toLocaleString('en')} replies, each checked. ${disturbance(foreignShare)}`,
  ].join('\n');
}

/** On a machine that does other work, waiting for a processor is most of what is measured. */
function disturbance(foreignShare: number): string {
  const share = `Other programs took ${(foreignShare * 100).toFixed(0)} % of this machine meanwhile`;
  return foreignShare > 0.1 ? `${share}: too much to compare these figures with others.` : `${share}.`;
}

/** Two columns of words, then figures. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => (row[column] ?? '').length), title.length),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
