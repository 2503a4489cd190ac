#!/usr/bin/env node
/** The `warder` command: its subcommands, and what becomes of an error that none of them has dealt with. */
import { Command, CommanderError } from 'commander';
import { checkCommand } from './commands/check.ts';
import { configCommand } from './commands/config-check.ts';
import { devCommand } from './commands/dev.ts';
import { doctorCommand } from './commands/doctor.ts';
import { exitCodes } from './commands/exit-codes.ts';
import { flushCommand } from './commands/flush.ts';
import { refreshCommand } from './commands/refresh.ts';
import { rosterCommand } from './commands/roster.ts';
import { tailCommand } from './commands/tail.ts';
import { topCommand } from './commands/top.ts';
import { UsageProblem } from './commands/usage-problem.ts';
import { workerCommand } from './commands/worker.ts';
import { ConfigInvalid } from './config/problems.ts';
import { version } from './version.ts';

const program = new Command('warder')
  .description('The policy plane of XMPP clusters: decides stanzas, joins, sessions and rosters over NATS.')
  .version(version, '-V, --version')
  .addHelpText(
    'after',
    `
To try it:   warder dev            then, in another terminal:
             warder check stanza --from alice@localhost --to bob@localhost
To run it:   warder config check /etc/warder/warder.yaml
             warder worker --config /etc/warder/warder.yaml

Each command has its own help: warder check stanza --help
`,
  );

program.addCommand(devCommand());
program.addCommand(workerCommand());
program.addCommand(checkCommand());
program.addCommand(rosterCommand());
program.addCommand(refreshCommand());
program.addCommand(flushCommand());
program.addCommand(topCommand());
program.addCommand(tailCommand());
program.addCommand(doctorCommand());
program.addCommand(configCommand());
for (const command of everyCommand(program)) {
  command
    .exitOverride()
    .showHelpAfterError(`(${pathOf(command)} --help tells more)`)
    .configureHelp({ helpWidth: 80 });
}

// Whoever reads our output may stop reading, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? exitCodes.ok);
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function* everyCommand(command: Command): Generator<Command> {
  yield command;
  for (const child of command.commands) yield* everyCommand(child);
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const isUsage = error instanceof ConfigInvalid || error instanceof UsageProblem;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(error instanceof ConfigInvalid ? `${message}\n` : `error: ${message}\n`);
  return isUsage ? exitCodes.usage : exitCodes.failed;
}
