/** `warder doctor`: what is wrong with a set-up, from the broker to the hooks. */
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { ConfigInvalid } from '../config/problems.ts';
import type { Config } from '../config/schema.ts';
import { askThemselves, examineHooks, examineWorkers, followAnnouncements, judgeReach } from './doctor-cluster.ts';
import { judgePermissions, visitBroker } from './doctor-connection.ts';
import type { Visit } from './doctor-connection.ts';
import { examineStream } from './doctor-stream.ts';
import { exitCodes } from './exit-codes.ts';
import { Findings } from './findings.ts';
import { printReport } from './report.ts';
import { addTargetOptions, findTarget } from './target.ts';
import type { Target, TargetOptions } from './target.ts';
import { createPaint } from './terminal.ts';

type DoctorOptions = TargetOptions & { json?: true };

/** Everybody says every second that he is there. */
const listenMs = 1_500;

export function doctorCommand(): Command {
  const command = new Command('doctor').description('say what is wrong with a set-up, and what would be right');
  return addTargetOptions(command)
    .option('--json', 'print the findings as JSON')
    .addHelpText(
      'after',
      `
It looks at the NATS server, the stream of changes, the clocks, the permissions,
the workers and the hooks; with --config at that file and its sources too. It
changes nothing: it publishes one tick as each worker does twice a second, asks
the workers for the rosters of nobody, makes connections to the sources and
closes them, and asks a database whether it is a replica.

With an administrator's credentials it sees everything; with those of a worker
it does not ask the workers, and hears who is there.

Exit codes: 0 nothing has failed, 1 something has, 2 the command line is wrong.

Examples:
  warder doctor
  warder doctor --config /etc/warder/warder.yaml
  warder doctor --json | jq '.findings[] | select(.level == "fail")'
`,
    )
    .action(doctor);
}

async function doctor(options: DoctorOptions): Promise<void> {
  const findings = new Findings();
  const config = readConfig(options, findings);
  const { config: _file, ...others } = options;
  // Where the file is wrong, the rest can be looked at all the same.
  const target = findTarget(config === undefined ? others : options, process.env, process.cwd());
  const visit = await visitBroker(target, findings);
  if (visit !== undefined) {
    try {
      await examineCluster(visit, target, config, findings);
    } finally {
      await visit.nats.close();
    }
  }
  if (config !== undefined) {
    const { examineConfig } = await import('./doctor-sources.ts');
    await examineConfig(config, findings);
  }
  const isWell = findings.count('fail') === 0;
  printReport(
    {
      exitCode: isWell ? exitCodes.ok : exitCodes.failed,
      text: findings.text(createPaint(process.stdout, process.env)),
      json: { ok: isWell, nats: target.nats.url, prefix: target.nats.subject_prefix, findings: findings.all },
    },
    options.json === true,
  );
}

function readConfig({ config: file, nats, prefix }: DoctorOptions, findings: Findings): Config | undefined {
  if (file === undefined) {
    findings.note('configuration', 'none was given, so no source is looked at', "--config FILE, a worker's");
    return undefined;
  }
  const overridden = {
    ...process.env,
    ...(nats === undefined ? {} : { WARDER_NATS_URL: nats }),
    ...(prefix === undefined ? {} : { WARDER_SUBJECT_PREFIX: prefix }),
  };
  try {
    const config = loadConfig(file, overridden);
    findings.ok('configuration', `${file} has no problems`);
    return config;
  } catch (error) {
    if (!(error instanceof ConfigInvalid)) throw error;
    for (const line of error.message.split('\n')) findings.fail('configuration', line, 'see docs/configuration.md');
    return undefined;
  }
}

async function examineCluster(
  visit: Visit,
  target: Target,
  config: Config | undefined,
  findings: Findings,
): Promise<void> {
  const { nats, role } = visit;
  const prefix = target.nats.subject_prefix;
  const stream = () => examineStream(nats, prefix, config?.freshness.stream_replicas, findings);
  if (role === 'administrator') {
    const { count, members } = await examineWorkers(nats, prefix, findings);
    if (count === 0) await stream();
    else await judgeReach(nats, prefix, stream, findings);
    examineHooks(members ?? [], findings);
    if (count > 0) await askThemselves(nats, prefix, count, findings);
  } else {
    const heard = followAnnouncements(nats, prefix);
    await Promise.all([stream(), delay(listenMs)]);
    heard.stop();
    const known = [...heard.known.values()];
    judgeHeard(known.filter(({ kind }) => kind === 'worker').length, prefix, findings);
    examineHooks(known, findings);
  }
  await judgePermissions(visit, findings);
}

function judgeHeard(count: number, prefix: string, findings: Findings): void {
  if (count > 0) findings.ok('workers', `heard: ${count}; with the credentials of a worker they are not asked`);
  else findings.fail('workers', `none is heard with the prefix ${prefix}`, 'start one: warder worker --config FILE');
}
