/** `warder config check`: every problem of a configuration file at once, or what it says. */
import { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { ConfigInvalid } from '../config/problems.ts';
import type { Config } from '../config/schema.ts';
import { configSummary, routesOf } from './config-summary.ts';
import { exitCodes } from './exit-codes.ts';
import { printReport } from './report.ts';
import type { Report } from './report.ts';
import { createPaint } from './terminal.ts';
import type { Paint } from './terminal.ts';

export function configCommand(): Command {
  const config = new Command('config').description('look at configuration files');
  config
    .command('check')
    .description('say everything that is wrong with a file, or what it configures; nothing is started')
    .argument('<file>', 'the configuration file')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
The environment counts as it does for a worker: WARDER_NATS_URL and the others
override the file, and {env: NAME} must be there.

Exit codes: 0 the file is right, 2 it is not.

Examples:
  warder config check deploy/warder.yaml
  warder config check /etc/warder/warder.yaml --json
`,
    )
    .action((file: string, { json }: { json?: true }) => {
      printReport(checkConfig(file, process.env, createPaint(process.stdout, process.env)), json === true);
    });
  return config;
}

function checkConfig(file: string, env: NodeJS.ProcessEnv, paint: Paint): Report {
  let config: Config;
  try {
    config = loadConfig(file, env);
  } catch (error) {
    if (!(error instanceof ConfigInvalid)) throw error;
    const { problems } = error;
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    return {
      exitCode: exitCodes.usage,
      text: `${error.message}\n${paint('red', count)}\n`,
      json: {
        file,
        valid: false,
        problems: problems.map(({ path, message, line, variable }) => ({ path, message, line, variable })),
      },
    };
  }
  return {
    exitCode: exitCodes.ok,
    text: `${file}: ${paint('green', 'no problems')}\n${configSummary(config)}`,
    json: { file, valid: true, routes: routesOf(config) },
  };
}
