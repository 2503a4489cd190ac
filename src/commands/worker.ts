/** `warder worker`: one worker until it is told to stop. */
import { Command, Option } from 'commander';
import { loadConfig } from '../config/load.ts';
import { createLog } from '../observe/log.ts';
import { UsageProblem } from './usage-problem.ts';
import { exitCodes } from './exit-codes.ts';
import { serviceManagerOf } from './service-manager.ts';
import { listenForSignals } from './signals.ts';

export function workerCommand(): Command {
  return new Command('worker')
    .description('run a worker until SIGTERM or SIGINT')
    .addOption(new Option('-c, --config <file>', 'the configuration file').env('WARDER_CONFIG'))
    .addHelpText(
      'after',
      `
Any number of workers share the questions: start as many as you like, wherever
the NATS server can be reached. The log goes to standard error, a line of JSON
an event. WARDER_NATS_URL, WARDER_HTTP_LISTEN, WARDER_SUBJECT_PREFIX and
WARDER_LOG_LEVEL override the file.

Exit codes: 0 told to stop and everything answered, 1 it could not start or
lost NATS for good, 2 the command line or the configuration is wrong.

Examples:
  warder worker --config /etc/warder/warder.yaml
  WARDER_NATS_URL=nats://10.0.0.5:4222 warder worker -c warder.yaml
`,
    )
    .action(async ({ config }: { config?: string }) => {
      if (config === undefined) {
        throw new UsageProblem(
          'which configuration? Give --config FILE or set WARDER_CONFIG; deploy/warder.yaml is a sample',
        );
      }
      process.exitCode = await runWorker(config, process.env);
    });
}

async function runWorker(configFile: string, env: NodeJS.ProcessEnv): Promise<number> {
  const config = loadConfig(configFile, env);
  const log = createLog(config.log.level);
  // Only now: what a worker is made of takes longer to load than `warder check` takes.
  const { startWorker } = await import('../worker.ts');
  const worker = await startWorker({ config, log });
  const manager = serviceManagerOf(env, log);
  manager.ready();
  const ending = await Promise.race([listenForSignals().stopped, worker.closed.then(() => 'closed' as const)]);
  if (ending === 'closed') {
    log.fatal('the connection to NATS is closed for good');
    // What is left would keep the process alive, and nobody would start another.
    await worker.stop().catch((error: unknown) => log.error({ err: error }, 'not everything could be released'));
    return exitCodes.failed;
  }
  log.info({ signal: ending }, 'stopping');
  manager.stopping();
  await worker.stop();
  log.info('stopped');
  return exitCodes.ok;
}
