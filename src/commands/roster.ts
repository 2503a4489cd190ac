/** `warder roster`: what the workers say a user's contact list holds, fetched anew from its source. */
import { Command } from 'commander';
import { z } from 'zod';
import type { Jid } from '../wire/jid.ts';
import { openAsker } from './asking.ts';
import type { Asker } from './asking.ts';
import type { Trouble } from './connect-once.ts';
import { exitCodes } from './exit-codes.ts';
import { durationWords } from './explain-decision.ts';
import { explainTrouble } from './explain-trouble.ts';
import { bareUserJid, duration } from './option-values.ts';
import { printReport } from './report.ts';
import { rosterFailureWords } from './roster-failure.ts';
import { rosterTable } from './roster-table.ts';
import { addTargetOptions, findTarget } from './target.ts';
import type { TargetOptions } from './target.ts';
import { createPaint } from './terminal.ts';

const roster = z.object({
  version: z.string(),
  items: z.array(
    z.object({
      jid: z.string(),
      name: z.string().nullish(),
      subscription: z.string(),
      ask: z.string().nullish(),
      groups: z.array(z.string()),
    }),
  ),
  pending: z.array(z.object({ jid: z.string(), text: z.string().nullish() })),
});

export type ShownRoster = z.output<typeof roster>;

const rosterReply = z.object({
  rosters: z.record(z.string(), roster),
  failed: z.record(z.string(), z.string()),
});

type Answer = z.output<typeof rosterReply>;

interface RosterOptions extends TargetOptions {
  timeout: number;
  json?: true;
}

const defaultTimeoutMs = 5_000;

export function rosterCommand(): Command {
  const command = new Command('roster')
    .description('show contact lists, fetched anew from their source')
    .argument('<user...>', 'bare JIDs', (text: string, before?: Jid[]) => [...(before ?? []), bareUserJid(text)])
    .option('--timeout <time>', 'how long to wait: milliseconds, or 250ms, 2s', duration, defaultTimeoutMs);
  return addTargetOptions(command)
    .option('--json', 'print the rosters as JSON')
    .addHelpText(
      'after',
      `
Exit codes: 0 all were had, 1 one or more were not, 2 the command line is wrong.

Examples:
  warder roster alice@localhost
  warder roster alice@localhost bob@localhost --json
`,
    )
    .action(showRosters);
}

async function showRosters(users: readonly Jid[], options: RosterOptions): Promise<void> {
  const paint = createPaint(process.stdout, process.env);
  const target = findTarget(options, process.env, process.cwd());
  const { timeout, json } = options;
  const names = [...new Set(users.map(({ bare }) => bare))];
  const about = {
    operation: 'roster-refresh',
    subject: `${target.nats.subject_prefix}.roster-refresh`,
    nats: target.nats.url,
  };
  const began = performance.now();
  const asker = await openAsker(target.nats);
  const outcome = 'trouble' in asker ? asker : await askAll(asker, names, timeout);
  if (!('trouble' in asker)) await asker.close();
  if ('trouble' in outcome) {
    const text = explainTrouble(outcome, target, 'roster-refresh', timeout, paint);
    return printReport(
      { exitCode: exitCodes.failed, text, json: { ...about, users: names, ...outcome } },
      json === true,
    );
  }
  const tookMs = performance.now() - began;
  const { rosters, failed } = outcome;
  const missing = names.filter((name) => !Object.hasOwn(rosters, name));
  const parts = names.map((name) => {
    const found = rosters[name];
    if (found !== undefined) return rosterTable(name, found, paint);
    return `${paint('red', 'no roster')} of ${name}: ${rosterFailureWords(failed[name])}\n`;
  });
  const summary = `${names.length - missing.length} of ${names.length} rosters, in ${durationWords(tookMs)}\n`;
  printReport(
    {
      exitCode: missing.length === 0 ? exitCodes.ok : exitCodes.failed,
      text: [...parts, summary].join('\n'),
      json: { ...about, rosters, failed, took_ms: Number(tookMs.toFixed(3)) },
    },
    json === true,
  );
}

/** All at once; those that did not fit into one reply again, singly. */
async function askAll(asker: Asker, users: readonly string[], budgetMs: number): Promise<Answer | Trouble> {
  const first = await askFor(asker, users, budgetMs);
  if ('trouble' in first || users.length === 1) return first;
  const rosters = { ...first.rosters };
  const failed = { ...first.failed };
  for (const user of users.filter((one) => first.failed[one] === 'too-large')) {
    const single = await askFor(asker, [user], budgetMs);
    if ('trouble' in single) return single;
    delete failed[user];
    Object.assign(rosters, single.rosters);
    Object.assign(failed, single.failed);
  }
  return { rosters, failed };
}

async function askFor(asker: Asker, users: readonly string[], budgetMs: number): Promise<Answer | Trouble> {
  const outcome = await asker.ask('roster-refresh', { users, reason: 'changed' }, budgetMs);
  if ('trouble' in outcome) return outcome;
  const parsed = rosterReply.safeParse(outcome.reply);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return { trouble: 'bad-reply', detail: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` };
}
