#!/usr/bin/env node
/** The `warder` command. Each subcommand is a file in `commands/`; here they get their names, options and help. */
import { Command, CommanderError } from 'commander';
import { exitCodes } from './commands/exit-codes.ts';
import { runWorker } from './commands/worker.ts';
import { ConfigInvalid } from './config/problems.ts';
import { version } from './version.ts';

const program = new Command('warder')
  .description('The policy plane of XMPP clusters: decides stanzas, joins, sessions and rosters over NATS.')
  .version(version)
  .showHelpAfterError('(try warder --help)')
  .exitOverride();

program
  .command('worker')
  .description('run a worker until SIGTERM or SIGINT')
  .requiredOption('-c, --config <file>', 'the configuration file (or WARDER_CONFIG)', process.env['WARDER_CONFIG'])
  .action(async ({ config }: { config: string }) => {
    process.exitCode = await runWorker(config, process.env);
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return error instanceof ConfigInvalid ? exitCodes.usage : exitCodes.failed;
}
