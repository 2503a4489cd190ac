/** `warder top`: what the workers and hooks of a cluster do, second by second. */
import { Command } from 'commander';
import type { NatsConnection } from 'nats';
import { takeSample } from './cluster-sample.ts';
import { ClusterView } from './cluster-view.ts';
import type { View } from './cluster-view.ts';
import { connectOnce, followConnection, refusalOf } from './connect-once.ts';
import type { Trouble } from './connect-once.ts';
import { timeOf } from './decision-line.ts';
import { exitCodes } from './exit-codes.ts';
import { explainTrouble } from './explain-trouble.ts';
import { rate } from './figures.ts';
import { duration } from './option-values.ts';
import { printReport } from './report.ts';
import { openScreen } from './screen.ts';
import { listenForSignals } from './signals.ts';
import { addTargetOptions, findTarget } from './target.ts';
import type { Target, TargetOptions } from './target.ts';
import { createPaint, width } from './terminal.ts';
import { tablesOf } from './top-table.ts';

interface TopOptions extends TargetOptions {
  interval: number;
  once?: true;
  json?: true;
}

const defaultIntervalMs = 1_000;

export function topCommand(): Command {
  const command = new Command('top')
    .description('show what workers and hooks do: rates, latencies, hits, fallbacks, who is there')
    .option('--interval <time>', 'how often: milliseconds, or 500ms, 5s', duration, defaultIntervalMs)
    .option('--once', 'print the figures of one interval, and end');
  return addTargetOptions(command)
    .option('--json', 'print a line of JSON each time; with --once one object')
    .addHelpText(
      'after',
      `
On a terminal the tables are drawn again and again; q or Ctrl-C ends it. Else
they are printed one after the other.

HITS are answers from the memory of a worker, NEAR those of a hook itself.
REFUSED is deny, drop and defer; DEGRADED are fallbacks and what was not proved
fresh. PROOF is how old the proof of freshness is, BEHIND how many changes have
been seen elsewhere and not there. The figures of hooks are of the last ten
seconds, and need five to appear.

Exit codes: 0 told to stop, or --once has seen a worker, 1 no NATS server, no
worker (with --once), or a refusal, 2 the command line is wrong.

Examples:
  warder top
  warder top --once --interval 6s
  warder top --json | jq .total
`,
    )
    .action(top);
}

async function top(options: TopOptions): Promise<void> {
  const target = findTarget(options, process.env, process.cwd());
  const nats = await connectOnce(target.nats, options.once !== true);
  const outcome = 'trouble' in nats ? nats : await show(nats, target, options);
  if (outcome === undefined) return;
  const paint = createPaint(process.stdout, process.env);
  const text = explainTrouble(outcome, target, 'stanza-check', 0, paint);
  printReport({ exitCode: exitCodes.failed, text, json: { nats: target.nats.url, ...outcome } }, options.json === true);
}

/** Until somebody ends it: undefined. Else why not. */
async function show(nats: NatsConnection, target: Target, options: TopOptions): Promise<Trouble | undefined> {
  const signals = listenForSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  let printer: Printer | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Trouble | undefined>((resolve, reject) => {
      void signals.stopped.then(() => resolve(undefined));
      let awaySinceMs: number | undefined;
      void followConnection(nats, {
        refused: (detail) => resolve({ trouble: 'refused', detail }),
        away: () => (awaySinceMs ??= performance.now()),
        back: () => (awaySinceMs = undefined),
      });
      const to = (printer = openPrinter(target, options, () => resolve(undefined)));
      const cluster = new ClusterView();
      let isFirst = true;
      const tick = async () => {
        const sample = await takeSample(nats, target.nats.subject_prefix);
        if (options.once === true && sample.workers.length === 0) return resolve({ trouble: 'no-workers', detail: '' });
        const view = cluster.add(sample);
        to.print(view, isFirst, awaySinceMs === undefined ? undefined : performance.now() - awaySinceMs);
        if (options.once === true && !isFirst) return resolve(undefined);
        isFirst = false;
        const nextMs = Math.max(0, sample.atMs + options.interval - performance.now());
        timer = setTimeout(() => void tick().catch(failed), nextMs);
      };
      const failed = (error: unknown) => {
        const refused = refusalOf(error);
        if (refused !== undefined) resolve(refused);
        // What was asked when somebody ended it fails with the connection.
        else if (!nats.isClosed()) reject(error);
      };
      void tick().catch(failed);
    });
  } finally {
    clearTimeout(timer);
    printer?.close();
    signals.release();
    await nats.close();
  }
}

interface Printer {
  /** @param awayMs for how long the broker has been gone, if it has */
  print(view: View, isFirst: boolean, awayMs: number | undefined): void;
  close(): void;
}

function openPrinter(target: Target, options: TopOptions, quit: () => void): Printer {
  const paint = createPaint(process.stdout, process.env);
  const linesOf = (view: View, awayMs: number | undefined) => [
    headline(view, target, awayMs),
    '',
    ...tablesOf(view, paint),
  ];
  if (options.json === true) {
    return {
      print: (view, isFirst) => {
        // Nothing can be said of rates yet.
        if (isFirst) return;
        const document = { at: new Date().toISOString(), interval_ms: options.interval, ...view };
        process.stdout.write(`${JSON.stringify(document, undefined, options.once === true ? 2 : undefined)}\n`);
      },
      close: () => undefined,
    };
  }
  const isDrawn = process.stdout.isTTY && process.env['TERM'] !== 'dumb' && options.once !== true;
  if (!isDrawn) {
    return {
      print: (view, isFirst, awayMs) => {
        if (!isFirst) process.stdout.write(`${linesOf(view, awayMs).join('\n')}\n${options.once === true ? '' : '\n'}`);
      },
      close: () => undefined,
    };
  }
  const screen = openScreen(process.stdout, process.stdin, (key) => {
    if (key === 'q' || key === '\u0003') quit();
  });
  return {
    print: (view, _isFirst, awayMs) => screen.draw([...linesOf(view, awayMs), ''], paint('dim', 'q ends it')),
    close: () => screen.close(),
  };
}

/** `warder top  3 workers, 2 hooks, 1,234/s …  12:00:01` */
function headline(view: View, { nats }: Target, awayMs: number | undefined): string {
  const here = view.workers.filter(({ gone_ms: goneMs }) => goneMs === null).length;
  const counted = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`;
  const state =
    awayMs === undefined
      ? [counted(here, 'worker'), counted(view.hooks.length, 'hook'), rate(view.total.requests)]
      : [`the NATS server is gone for ${Math.round(awayMs / 1_000)} s`];
  const left = `warder top  ${[...state, `prefix ${nats.subject_prefix}`].join(', ')}`;
  const clock = timeOf(new Date());
  return `${left.slice(0, width - clock.length - 1).padEnd(width - clock.length)}${clock}`;
}
