/** Which broker a command talks to, and under which prefix: what was given, then the environment, then what runs here. */
import { Option } from 'commander';
import { natsUrls } from '../config/nats-url.ts';
import { subjectPrefix } from '../config/schema.ts';
import { bySchema } from './option-values.ts';
import type { Command } from 'commander';
import { loadConfig, parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { findDevState } from './dev-state.ts';

export interface TargetOptions {
  nats?: string;
  prefix?: string;
  config?: string;
}

export interface Target {
  readonly nats: Config['nats'];
  /** Where the address came from, for people who wonder. */
  readonly from: string;
  /** What completes user names, as the file has it. */
  readonly defaultHost?: string | undefined;
}

export function addTargetOptions(command: Command): Command {
  const file = new Option('-c, --config <file>', "take address, prefix and credentials from a worker's configuration");
  return command
    .option('--nats <url>', `the NATS server, or several with commas (default: ${addressOrder})`, bySchema(natsUrls))
    .option(
      '--prefix <subject>',
      'what the subjects of the workers begin with (default: xmpp.policy.v1)',
      bySchema(subjectPrefix),
    )
    .addOption(file.env('WARDER_CONFIG'));
}

const addressOrder = "WARDER_NATS_URL; the file's; that of a warder dev in this folder; nats://127.0.0.1:4222";

/** @throws ConfigInvalid when an option, the environment or the file is wrong */
export function findTarget(options: TargetOptions, env: NodeJS.ProcessEnv, folder: string): Target {
  const { nats, prefix, config } = options;
  const overridden = {
    ...env,
    ...(nats === undefined ? {} : { WARDER_NATS_URL: nats }),
    ...(prefix === undefined ? {} : { WARDER_SUBJECT_PREFIX: prefix }),
  };
  if (config !== undefined) {
    const from = nats !== undefined ? '--nats' : isSet(env) ? 'WARDER_NATS_URL' : config;
    const { nats: loaded, roster } = loadConfig(config, overridden);
    return { nats: loaded, from, defaultHost: roster.default_host };
  }
  const found = parseConfig('', 'warder.yaml', overridden).nats;
  if (nats !== undefined) return { nats: found, from: '--nats' };
  if (isSet(env)) return { nats: found, from: 'WARDER_NATS_URL' };
  const dev = findDevState(folder);
  if (dev === undefined) return { nats: found, from: 'nowhere: it is the default' };
  const isPrefixGiven = (overridden['WARDER_SUBJECT_PREFIX'] ?? '') !== '';
  const ofDev = {
    WARDER_NATS_URL: dev.url.join(','),
    WARDER_SUBJECT_PREFIX: isPrefixGiven ? found.subject_prefix : dev.prefix,
  };
  return {
    nats: parseConfig('', 'warder.yaml', ofDev).nats,
    from: `the warder dev that runs here, process ${dev.pid}`,
  };
}

function isSet(env: NodeJS.ProcessEnv): boolean {
  return (env['WARDER_NATS_URL'] ?? '').trim() !== '';
}
