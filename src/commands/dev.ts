/** `warder dev`: a broker, a worker and a sample policy on this machine, to try things with. */
import { Command, InvalidArgumentError } from 'commander';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { Releasers } from '../releasers.ts';
import { openAsker } from './asking.ts';
import { devBanner } from './dev-banner.ts';
import { startBroker } from './dev-broker.ts';
import { prepareDevFolder } from './dev-folder.ts';
import { answeredLine, logLine } from './dev-lines.ts';
import { requireFreePort } from './dev-port.ts';
import { removeDevState, runningDev, writeDevState } from './dev-state.ts';
import { exitCodes } from './exit-codes.ts';
import { explainTrouble } from './explain-trouble.ts';
import { listenForSignals } from './signals.ts';
import { createPaint } from './terminal.ts';

/** Warder's own, since Debian's nats-server holds 4222. Fixed, so that what is printed can be pasted again tomorrow. */
const defaultPort = 4_322;

export function devCommand(): Command {
  return new Command('dev')
    .description('start a NATS server and a worker with a sample policy, and watch')
    .option('--port <port>', 'the port of the NATS server that is started', portNumber, defaultPort)
    .addHelpText(
      'after',
      `
Everything is kept in .warder/ in this folder: policy.yaml, which is read again
whenever it is saved, warder.yaml, and what the NATS server stores. Remove the
folder to begin anew. Other commands in this folder find the NATS server by it.

With WARDER_NATS_URL no NATS server is started and that one is used. The
metrics are at 127.0.0.1:9464 unless WARDER_HTTP_LISTEN says otherwise.
Ctrl-C stops everything.

Examples:
  warder dev
  warder dev --port 4323
  WARDER_NATS_URL=nats://127.0.0.1:4222 warder dev
`,
    )
    .action(async ({ port }: { port: number }) => {
      process.exitCode = await runDev(port, process.env);
    });
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) throw new InvalidArgumentError('It must be 1 to 65535.');
  return port;
}

async function runDev(port: number, env: NodeJS.ProcessEnv): Promise<number> {
  process.title = 'warder dev';
  const signals = listenForSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  const releasers = new Releasers();
  releasers.push(() => signals.release());
  try {
    const ending = start(port, env, releasers);
    // A signal while something starts ends it as well, once there is something to be ended.
    const started = await ending;
    const why = await Promise.race([signals.stopped, started.ended]);
    if (!why.startsWith('SIG')) {
      process.stderr.write(`${why}\n`);
      return exitCodes.failed;
    }
    process.stdout.write('\nstopping\n');
    return exitCodes.ok;
  } finally {
    await releasers.release();
  }
}

async function start(port: number, env: NodeJS.ProcessEnv, releasers: Releasers): Promise<{ ended: Promise<string> }> {
  const paint = createPaint(process.stdout, env);
  const folder = prepareDevFolder(process.cwd());
  const other = runningDev(folder.path);
  if (other !== undefined) {
    throw new Error(`another warder dev runs in this folder, process ${other.pid}; to stop it: kill ${other.pid}`);
  }
  const isOwnBroker = (env['WARDER_NATS_URL'] ?? '').trim() === '';
  const url = `nats://127.0.0.1:${port}`;
  const config = loadConfig(folder.config, isOwnBroker ? { ...env, WARDER_NATS_URL: url } : env);
  await requirePorts(config, isOwnBroker ? port : undefined);

  const ends: Promise<string>[] = [];
  if (isOwnBroker) {
    const broker = await startBroker(port, folder.path);
    releasers.push(() => broker.stop());
    ends.push(broker.ended.then((said) => `the NATS server has ended; it said:\n${said}`));
  } else await requireBroker(config, env);

  const say = (line: string) => process.stdout.write(`${line}\n`);
  const { pino } = await import('pino');
  const { startWorker } = await import('../worker.ts');
  const log = pino(
    { level: config.log.level, base: {}, timestamp: pino.stdTimeFunctions.isoTime },
    {
      write: (json: string) => {
        const line = logLine(json, paint);
        if (line !== undefined) say(line);
      },
    },
  );
  const worker = await startWorker({
    config,
    log,
    onAnswered: (answered) => say(answeredLine(answered, config.operations, paint, new Date())),
  });
  releasers.push(() => worker.stop());
  ends.push(worker.closed.then(() => 'the connection to the NATS server is closed for good'));

  writeDevState(folder.path, { url: config.nats.url, prefix: config.nats.subject_prefix });
  releasers.push(() => removeDevState(folder.path));
  process.stdout.write(devBanner({ config, folder, isOwnBroker, metrics: `${worker.url}/metrics` }, paint));
  return { ended: Promise.race(ends) };
}

async function requirePorts({ http }: Config, brokerPort: number | undefined): Promise<void> {
  if (brokerPort !== undefined) {
    await requireFreePort(
      '127.0.0.1',
      brokerPort,
      `npm start -- --port ${brokerPort + 1}, or warder dev --port ${brokerPort + 1}`,
    );
  }
  const at = http.listen.lastIndexOf(':');
  const host = http.listen.slice(0, at).replace(/^\[|\]$/g, '');
  const port = Number(http.listen.slice(at + 1));
  if (port !== 0) await requireFreePort(host, port, `WARDER_HTTP_LISTEN=${host}:${port + 1}`);
}

async function requireBroker(config: Config, env: NodeJS.ProcessEnv): Promise<void> {
  const asker = await openAsker(config.nats);
  if (!('trouble' in asker)) return asker.close();
  const target = { nats: config.nats, from: 'WARDER_NATS_URL; without it a NATS server of its own is started' };
  throw new Error(explainTrouble(asker, target, 'stanza-check', 0, createPaint(process.stderr, env)).trimEnd());
}
