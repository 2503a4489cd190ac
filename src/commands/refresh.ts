/** `warder refresh`: says that rosters have changed, so that clients see what the application holds now. */
import { Command } from 'commander';
import { hostName } from '../config/host-name.ts';
import { openAsker } from './asking.ts';
import { exitCodes } from './exit-codes.ts';
import { durationWords } from './explain-decision.ts';
import { explainTrouble } from './explain-trouble.ts';
import { bySchema, duration } from './option-values.ts';
import { refreshInBatches } from './refresh-batches.ts';
import type { RefreshedUsers } from './refresh-batches.ts';
import { RefreshProgress } from './refresh-progress.ts';
import { printReport } from './report.ts';
import { rosterFailureWords } from './roster-failure.ts';
import { addTargetOptions, findTarget } from './target.ts';
import type { TargetOptions } from './target.ts';
import { createPaint, printable } from './terminal.ts';
import type { Paint } from './terminal.ts';
import { UsageProblem } from './usage-problem.ts';
import { readUserFile, userList } from './user-list.ts';

interface RefreshOptions extends TargetOptions {
  from?: string;
  host?: string;
  progress?: true;
  timeout: number;
  json?: true;
}

const defaultTimeoutMs = 30_000;
/** How many failures are told to people, one by one. */
const shownFailures = 10;

export function refreshCommand(): Command {
  const command = new Command('refresh')
    .description('say that the rosters of users have changed: clients are shown what the application holds now')
    .argument('[user...]', 'bare JIDs, or user names with --host')
    .option('--from <file>', 'more users, one a line; - is standard input')
    .option('--host <host>', "completes user names (default: the file's roster.default_host)", bySchema(hostName))
    .option('--progress', 'say on standard error how far it is')
    .option(
      '--timeout <time>',
      'how long each 100 users may take: milliseconds, or 250ms, 2s',
      duration,
      defaultTimeoutMs,
    );
  return addTargetOptions(command)
    .option('--json', 'print what became of them as JSON, with all who failed')
    .addHelpText(
      'after',
      `
Exit codes: 0 all were refreshed, 1 one or more were not, 2 the command line is
wrong.

Examples:
  warder refresh alice@localhost bob@localhost
  warder refresh --from users.txt --host example.org --progress
  psql -Atc 'SELECT jid FROM changed' | warder refresh --from - --json
`,
    )
    .action(refresh);
}

async function refresh(given: readonly string[], options: RefreshOptions): Promise<void> {
  const { from, host, timeout } = options;
  const isJson = options.json === true;
  const target = findTarget(options, process.env, process.cwd());
  if (given.length === 0 && from === undefined)
    throw new UsageProblem('Whose rosters? Give users, or a file of them: --from FILE.');
  const listed = from === undefined ? [] : readUserFile(from);
  const { users, unusable } = userList(given, listed, host ?? target.defaultHost);
  const paint = createPaint(process.stdout, process.env);
  const about = {
    operation: 'roster-refresh',
    subject: `${target.nats.subject_prefix}.roster-refresh`,
    nats: target.nats.url,
    users: users.length + Object.keys(unusable).length,
  };
  const began = performance.now();
  const asker = await openAsker(target.nats);
  const done = 'trouble' in asker ? { updated: 0, failed: {}, trouble: asker } : await ask(asker, users, options);
  if (!('trouble' in asker)) await asker.close();
  if (done.trouble !== undefined && done.updated === 0) {
    const text = explainTrouble(done.trouble, target, 'roster-refresh', timeout, paint);
    return printReport({ exitCode: exitCodes.failed, text, json: { ...about, ...done.trouble } }, isJson);
  }
  const { updated } = done;
  const failed = { ...unusable, ...done.failed };
  const errors = Object.keys(failed).length;
  const tookMs = performance.now() - began;
  const summary = `refreshed ${updated.toLocaleString('en')} of ${about.users.toLocaleString('en')} users, in ${durationWords(tookMs)}\n`;
  printReport(
    {
      exitCode: errors === 0 ? exitCodes.ok : exitCodes.failed,
      text: summary + failureLines(failed, paint),
      json: { ...about, updated, errors, failed, took_ms: Number(tookMs.toFixed(3)) },
    },
    isJson,
  );
}

type Asker = Exclude<Awaited<ReturnType<typeof openAsker>>, { trouble: unknown }>;

async function ask(asker: Asker, users: readonly string[], options: RefreshOptions): Promise<RefreshedUsers> {
  if (options.progress !== true) return refreshInBatches(asker, users, options.timeout, () => undefined);
  const progress = new RefreshProgress(process.stderr, users.length, () => performance.now());
  const done = await refreshInBatches(asker, users, options.timeout, (some, failed) => progress.add(some, failed));
  progress.end();
  return done;
}

function failureLines(failed: Readonly<Record<string, string>>, paint: Paint): string {
  const all = Object.entries(failed);
  const lines = all
    .slice(0, shownFailures)
    .map(([user, why]) => `${paint('red', 'failed')} ${printable(user)}: ${rosterFailureWords(why)}\n`);
  const rest = all.length - lines.length;
  return lines.join('') + (rest > 0 ? `and ${rest.toLocaleString('en')} more; --json has them all\n` : '');
}
