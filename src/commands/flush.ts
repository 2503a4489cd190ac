/** `warder flush`: says that something has changed, so that nobody serves what was decided before. */
import { Argument, Command, InvalidArgumentError } from 'commander';
import { NatsError } from 'nats';
import type { NatsConnection } from 'nats';
import type { Change } from '../changes.ts';
import { publishUnnumbered, publishUntilAcknowledged } from '../nats/publish.ts';
import { hasJetStream } from '../nats/stream.ts';
import type { Announcement } from '../nats/members.ts';
import { operationNames } from '../wire/operation.ts';
import { connectOnce, refusals } from './connect-once.ts';
import type { Trouble } from './connect-once.ts';
import { exitCodes } from './exit-codes.ts';
import { explainTrouble } from './explain-trouble.ts';
import { watchMembers } from './flush-wait.ts';
import { anyJid, bareUserJid, duration, roomJid } from './option-values.ts';
import { printReport } from './report.ts';
import type { Report } from './report.ts';
import { addTargetOptions, findTarget } from './target.ts';
import type { TargetOptions } from './target.ts';
import { createPaint, printable } from './terminal.ts';
import { UsageProblem } from './usage-problem.ts';

interface FlushOptions extends TargetOptions {
  wait?: true;
  timeout: number;
  json?: true;
}

const defaultTimeoutMs = 5_000;

export function flushCommand(): Command {
  const command = new Command('flush')
    .description('say that something has changed: what was decided before is not served again')
    .addArgument(new Argument('<scope>', 'what has changed').choices(['user', 'room', 'domain', 'operation', 'all']))
    .argument('[name]', 'which user, room, domain or operation')
    .option('--wait', 'wait until every worker and hook has seen it, or until the staleness bound has passed')
    .option('--timeout <time>', 'how long to try to publish: milliseconds, or 250ms, 2s', duration, defaultTimeoutMs);
  return addTargetOptions(command)
    .option('--json', 'print what happened as JSON')
    .addHelpText(
      'after',
      `
Exit codes: 0 it takes effect everywhere within the staleness bound, 1 it could
not be published, or only as best effort (no JetStream) although --wait was
given, 2 the command line is wrong.

Examples:
  warder flush user alice@localhost --wait
  warder flush room lobby@rooms.localhost
  warder flush operation join-check
  warder flush all
`,
    )
    .action(flush);
}

/** @throws UsageProblem that says what would be right */
function changeOf(scope: string, name: string | undefined): Change {
  try {
    return namedChange(scope, name);
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw new UsageProblem(`${scope} ${name}: ${error.message}`);
    throw error;
  }
}

function namedChange(scope: string, name: string | undefined): Change {
  if (scope === 'all') {
    if (name !== undefined) throw new UsageProblem('"all" stands alone.');
    return { all: true };
  }
  if (name === undefined) throw new UsageProblem(`Which ${scope}? Give it behind the word: flush ${scope} NAME.`);
  if (scope === 'user') return { user: bareUserJid(name).bare };
  if (scope === 'room') return { room: roomJid(name).bare };
  if (scope === 'operation') {
    const operation = operationNames.find((known) => known === name);
    if (operation === undefined)
      throw new UsageProblem(`There is no operation ${name}; there are ${operationNames.join(', ')}.`);
    return { operation };
  }
  const jid = anyJid(name);
  if (jid.full !== jid.domain) throw new UsageProblem(`It is no domain; write it as ${jid.domain}, or use flush user.`);
  return { domain: jid.domain };
}

async function flush(scope: string, name: string | undefined, options: FlushOptions): Promise<void> {
  const change = changeOf(scope, name);
  const target = findTarget(options, process.env, process.cwd());
  const paint = createPaint(process.stdout, process.env);
  const about = { change, nats: target.nats.url, prefix: target.nats.subject_prefix };
  const connected = await connectOnce(target.nats);
  const outcome =
    'trouble' in connected ? connected : await attempt(connected, change, target.nats.subject_prefix, options);
  if ('trouble' in outcome) {
    const text = explainTrouble(outcome, target, 'user-removed', options.timeout, paint);
    printReport({ exitCode: exitCodes.failed, text, json: { ...about, ...outcome } }, options.json === true);
    return;
  }
  printReport({ ...outcome, json: { ...about, ...outcome.json } }, options.json === true);
}

async function attempt(
  nats: NatsConnection,
  change: Change,
  prefix: string,
  options: FlushOptions,
): Promise<Report | Trouble> {
  try {
    return await publish(nats, change, prefix, options);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { trouble: isRefusal(error) ? 'refused' : 'timeout', detail };
  } finally {
    await nats.close();
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof NatsError && refusals.includes(error.code);
}

async function publish(nats: NatsConnection, change: Change, prefix: string, options: FlushOptions): Promise<Report> {
  const what = printable(
    Object.entries(change)
      .map(([scope, value]) => (scope === 'all' ? 'all' : `${scope} ${value}`))
      .join(),
  );
  if (!(await hasJetStream(nats))) {
    await publishUnnumbered(nats, prefix, change, 'warder flush');
    return {
      exitCode: options.wait === true ? exitCodes.failed : exitCodes.ok,
      text:
        `flushed ${what} as best effort: this broker has no JetStream, so nobody can say\n` +
        `who has heard it. Who has not forgets by the TTL.\n`,
      json: { token: 0 },
    };
  }
  const members = options.wait === true ? await watchMembers(nats, prefix) : undefined;
  const signal = AbortSignal.timeout(options.timeout);
  const token = await publishUntilAcknowledged(nats, prefix, change, 'warder flush', signal, (error) => {
    // Asking again does not make it allowed.
    if (isRefusal(error)) throw error;
  });
  if (members === undefined) {
    return { exitCode: exitCodes.ok, text: `flushed ${what}: change ${token}\n`, json: { token } };
  }
  const reach = await members.untilReached(token);
  const silent = reach.silent.map((member) => `  silent: ${describe(member)}\n`).join('');
  const since =
    silent === ''
      ? 'all of them have seen it'
      : `the staleness bound of ${reach.boundMs} ms has passed, so nobody serves older decisions`;
  return {
    exitCode: exitCodes.ok,
    text: `flushed ${what}: change ${token}\n${reach.reported.length} of ${reach.reported.length + reach.silent.length} workers and hooks have reported it; ${since}\n${silent}`,
    json: { token, reported: reach.reported, silent: reach.silent, bound_ms: reach.boundMs },
  };
}

function describe({ kind, name, boot_id, seen }: Announcement): string {
  return `${kind} ${printable(name)} (${printable(boot_id)}), last seen at ${seen}`;
}
