/** A view of the cluster as tables of 80 columns: operations, workers, sources, hooks. */
import type { HookView, SourceView, View, WorkerView } from './cluster-view.ts';
import { count, cutInTheMiddle, dash, percent, rate, time } from './figures.ts';
import { printable } from './terminal.ts';
import type { Paint } from './terminal.ts';

interface Column<Row> {
  readonly title: string;
  readonly width: number;
  readonly of: (row: Row) => string;
}

/** Who says every second that he is there, and has not for so long, is worth a word. */
const silentMs = 3_000;

const operationColumns: readonly Column<View['operations'][number]>[] = [
  { title: 'OPERATION', width: -19, of: ({ operation }) => operation },
  { title: 'RATE', width: 9, of: ({ requests }) => rate(requests) },
  { title: 'P50', width: 7, of: ({ p50_ms }) => time(p50_ms) },
  { title: 'P99', width: 7, of: ({ p99_ms }) => time(p99_ms) },
  { title: 'HITS', width: 6, of: ({ remembered }) => percent(remembered) },
  { title: 'REFUSED', width: 8, of: ({ refused }) => rate(refused) },
  { title: 'DEGRADED', width: 9, of: ({ degraded }) => rate(degraded) },
  { title: 'FAILED', width: 8, of: ({ failed }) => rate(failed) },
];

const workerColumns: readonly Column<WorkerView>[] = [
  { title: 'WORKER', width: -21, of: ({ name }) => cutInTheMiddle(printable(name), 21) },
  { title: 'RATE', width: 9, of: ({ requests }) => rate(requests) },
  { title: 'P99', width: 7, of: ({ p99_ms }) => time(p99_ms) },
  { title: 'HITS', width: 6, of: ({ remembered }) => percent(remembered) },
  { title: 'IN FLIGHT', width: 9, of: ({ in_flight }) => count(in_flight) },
  { title: 'PROOF', width: 7, of: ({ proof_age_ms }) => time(proof_age_ms) },
  { title: 'BEHIND', width: 6, of: ({ behind }) => count(behind) },
  { title: 'VERSION', width: 8, of: ({ version }) => printable(version) },
];

const sourceColumns: readonly Column<SourceView>[] = [
  { title: 'SOURCE', width: -26, of: ({ source }) => cutInTheMiddle(printable(source), 26) },
  { title: 'TYPE', width: -16, of: ({ type }) => printable(type) },
  { title: 'CIRCUIT', width: 13, of: circuit },
  {
    title: 'IN FLIGHT',
    width: 13,
    of: ({ in_flight, max_in_flight }) => `${count(in_flight)} of ${count(max_in_flight)}`,
  },
  { title: 'QUEUED', width: 7, of: ({ queued }) => count(queued) },
];

const hookColumns: readonly Column<HookView>[] = [
  { title: 'HOOK', width: -21, of: ({ name }) => cutInTheMiddle(printable(name), 21) },
  { title: 'SERVER', width: -8, of: ({ server }) => printable(server ?? dash) },
  { title: 'RATE', width: 9, of: ({ decided }) => rate(decided) },
  { title: 'NEAR', width: 5, of: ({ remembered }) => percent(remembered) },
  { title: 'FAILED', width: 7, of: ({ failed }) => rate(failed) },
  { title: 'FALLBACK', width: 8, of: ({ fallbacks }) => rate(fallbacks) },
  { title: 'BEHIND', width: 6, of: ({ behind }) => count(behind) },
  { title: 'VERSION', width: 8, of: ({ version }) => printable(version ?? dash) },
];

/** Lines, each without its line break. */
export function tablesOf(view: View, paint: Paint): string[] {
  const asked = view.operations.filter(({ ever }) => ever > 0);
  return [
    ...(asked.length === 0 ? ['no worker has been asked anything yet'] : table(operationColumns, asked, paint)),
    '',
    ...(view.workers.length === 0 ? ['no worker answers'] : table(workerColumns, view.workers, paint, workerNote)),
    ...(view.sources.length === 0 ? [] : ['', ...table(sourceColumns, view.sources, paint)]),
    '',
    ...(view.hooks.length === 0 ? ['no hook is heard'] : table(hookColumns, view.hooks, paint, hookNote)),
  ];
}

/** A negative width is that of text, which begins at the left. */
function table<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  paint: Paint,
  noteOf: (row: Row) => string | undefined = () => undefined,
): string[] {
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => {
        const width = columns[index]?.width ?? 0;
        return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
      })
      .join(' ')
      .trimEnd();
  return [
    paint('bold', line(columns.map(({ title }) => title))),
    ...rows.map((row) => {
      const note = noteOf(row);
      const cells = columns.map(({ of }) => of(row));
      return note === undefined ? line(cells) : paint('red', `${line(cells.slice(0, 1))} ${note}`);
    }),
  ];
}

function workerNote({ gone_ms: goneMs }: WorkerView): string | undefined {
  return goneMs === null ? undefined : `gone for ${time(goneMs)}`;
}

function hookNote({ heard_ms: heardMs }: HookView): string | undefined {
  return heardMs < silentMs ? undefined : `silent for ${time(heardMs)}`;
}

function circuit({ open_on: openOn, workers }: SourceView): string {
  if (openOn === 0) return 'closed';
  return openOn === workers ? 'OPEN' : `OPEN on ${openOn} of ${workers}`;
}
