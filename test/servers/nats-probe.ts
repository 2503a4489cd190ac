/** A Prosody that does nothing but run the hook's NATS client, on command. Knows no policy. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';
import { startProcess } from './process.ts';

const hookFolder = fileURLToPath(new URL('../../deploy/prosody/mod_warder', import.meta.url));
const modulesFolder = fileURLToPath(new URL('prosody-modules', import.meta.url));

/** What the module prosody-modules/mod_nats_probe.lua answers; each command fills some of it. */
export interface ProbeAnswer {
  acquired?: boolean;
  client_id?: number;
  connect_urls?: string[];
  connected?: boolean;
  error?: string;
  failure?: string;
  max_payload?: number;
  messages?: { payload: string; headers?: Record<string, string[]> }[];
  ok?: boolean;
  payload?: string;
  reply?: Record<string, unknown>;
  stats?: Record<string, unknown>;
  statuses?: unknown[][];
}

export interface NatsProbe {
  /** Runs a command of the module in the module of a host (default the first) and resolves with its answer. */
  run(command: string, parameters?: Readonly<Record<string, unknown>>, host?: string): Promise<ProbeAnswer>;
  output(): string;
  waitForOutput(pattern: RegExp): Promise<unknown>;
  stop(): Promise<{ code: number | null }>;
}

export interface NatsProbeOptions {
  /** Further lines of the global section of the configuration. */
  config?: string;
  /** Lines of the configuration by host; default one host without any. */
  hosts?: Readonly<Record<string, string>>;
}

/** @throws Error with Prosody's log when it does not come up. */
export async function startNatsProbe(options: NatsProbeOptions = {}): Promise<NatsProbe> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-probe-'));
  const port = await freePort();
  const hosts = options.hosts ?? { 'one.test': '' };
  const firstHost = Object.keys(hosts)[0] ?? '';
  const configFile = join(folder, 'prosody.cfg.lua');
  writeFileSync(
    configFile,
    `pidfile = "${folder}/prosody.pid"
data_path = "${folder}"
certificates = "${folder}"
log = { debug = "*console" }
run_as_root = true
plugin_paths = { "${hookFolder}", "${modulesFolder}" }
modules_enabled = { "nats_probe" }
modules_disabled = { "c2s", "s2s", "offline" }
http_ports = { ${port} }
http_interfaces = { "127.0.0.1" }
http_host = "127.0.0.1"
https_ports = {}
${options.config ?? ''}
${Object.entries(hosts)
  .map(([host, lines]) => `VirtualHost "${host}"\n${lines}\n`)
  .join('')}`,
  );
  const child = await startProcess({
    command: 'prosody',
    args: ['--config', configFile, '-F'],
    ready: new RegExp(`Serving 'nats_probe' at .*/${Object.keys(hosts).at(-1) ?? ''}`),
  });
  return {
    run: async (command, parameters = {}, host = firstHost) => {
      const response = await fetch(`http://127.0.0.1:${port}/${host}`, {
        method: 'POST',
        body: JSON.stringify({ command, ...parameters }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${command} ended with ${response.status} ${text}:\n${child.output()}`);
      return JSON.parse(text) as ProbeAnswer;
    },
    output: () => child.output(),
    waitForOutput: (pattern) => child.waitForOutput(pattern),
    stop: async () => {
      const exit = await child.stop();
      rmSync(folder, { recursive: true, force: true });
      return exit;
    },
  };
}

export interface ProbeClient {
  /** A command of the module about this client. */
  run(command: string, parameters?: Readonly<Record<string, unknown>>): Promise<ProbeAnswer>;
  /** Resolves when it is connected, or is not. */
  connected(is?: boolean): Promise<ProbeAnswer>;
  /** What its status listener has been told so far. */
  statuses(): Promise<unknown[][]>;
  stats(): Promise<Record<string, unknown>>;
  /** Resolves when what it published before has been delivered. */
  flush(): Promise<void>;
  /** Resolves when it has reported an error that matches. */
  untilError(pattern: RegExp): Promise<void>;
}

let clients = 0;

/** A new client in the probe that has begun to connect. `close` is given what closes it. */
export async function startProbeClient(
  probe: NatsProbe,
  close: (step: () => Promise<unknown>) => void,
  servers: string | string[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<ProbeClient> {
  const client = `client${(clients += 1)}`;
  const run = (command: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<ProbeAnswer> =>
    probe.run(command, { client, ...parameters });
  const { error } = await run('connect', { options: { servers, connect_timeout: 10, ...more } });
  if (error !== undefined) throw new Error(error);
  close(() => run('close'));
  const statuses = async (): Promise<unknown[][]> => (await run('state')).statuses ?? [];
  return {
    run,
    connected: (is = true) => run('until_connected', { connected: is }),
    statuses,
    stats: async () => (await run('state')).stats ?? {},
    flush: async () => {
      const answer = await run('flush');
      if (answer.error !== 'no-responders') throw new Error(`flush: ${answer.error}`);
    },
    untilError: async (pattern) => {
      const deadline = performance.now() + 45_000;
      for (;;) {
        const seen = (await statuses()).map(String);
        if (seen.some((status) => pattern.test(status))) return;
        if (performance.now() > deadline) throw new Error(`no error ${String(pattern)} in:\n${seen.join('\n')}`);
        await delay(10);
      }
    },
  };
}
