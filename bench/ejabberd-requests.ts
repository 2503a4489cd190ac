/** What the NATS client of the Erlang hooks does for itself: requests a second, against an echo. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startProcess } from '../test/servers/process.ts';
import type { BuiltModules } from './ejabberd-server.ts';
import { echoSubject } from './requests.ts';
import { markdownTable, median } from './table.ts';

const rounds = 3;
const runSeconds = 3;

/** A line of what `bench/ejabberd/nats.escript` prints. */
interface Line {
  readonly senders: number;
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuUs: number;
}

/** Measures, and returns the table. @throws Error when an answer is missing or none of its request */
export async function ejabberdRequests({ folder }: BuiltModules): Promise<string> {
  const stops: (() => unknown)[] = [];
  try {
    const broker = await startNatsServer();
    stops.push(() => broker.stop());
    const script = fileURLToPath(new URL('./echo.js', import.meta.url));
    const echo = await startProcess({ command: process.execPath, args: [script, broker.url], ready: /ready/ });
    stops.push(() => echo.stop());
    const lines: Line[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const args = [join(process.cwd(), 'bench/ejabberd/nats.escript'), folder, broker.url, echoSubject];
      const { stdout } = await promisify(execFile)('escript', [...args, String(runSeconds)]);
      lines.push(
        ...stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Line),
      );
    }
    const rows = [...new Set(lines.map(({ senders }) => senders))].map((senders) => {
      const own = lines.filter((line) => line.senders === senders);
      const figure = (one: keyof Line) => median(own.map((line) => line[one]));
      return [
        senders.toLocaleString('en'),
        Math.round(figure('requestsPerSecond')).toLocaleString('en'),
        figure('p50Us').toFixed(0),
        figure('p99Us').toFixed(0),
        figure('cpuUs').toFixed(1),
      ];
    });
    return markdownTable(['senders', 'requests/s', 'p50 µs', 'p99 µs', 'CPU µs a request'], rows);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}
