/** A real nats-server on loopback for tests, with the faults that tests want: killed, paused, restarted in place. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningProcess, startProcess } from './process.ts';

export interface NatsServerOptions {
  jetstream?: boolean;
  /** Where JetStream keeps its files. Absent: a temporary folder, removed by `stop`. */
  storeDir?: string;
  /** Absent: one that the server chooses. */
  port?: number;
  /** Text of a configuration file. Address and port come from the command line and win. */
  extraConfig?: string;
  /** Further command-line arguments. */
  args?: readonly string[];
}

export interface NatsServer {
  /** `nats://127.0.0.1:PORT`, the same for all restarts. */
  readonly url: string;
  readonly port: number;
  readonly storeDir: string;
  /** Of the process that runs now; another after `restart`. */
  readonly pid: number;
  output(): string;
  signal(signal: NodeJS.Signals): boolean;
  /** Ends the server for good and removes its temporary files. */
  stop(): Promise<void>;
  /** SIGKILL: no goodbye to clients, nothing flushed. Port and store stay for `restart`. */
  kill(): Promise<void>;
  /** SIGSTOP, resolved when every thread stands still: connections stay open and nothing answers. */
  pause(): Promise<void>;
  resume(): void;
  /** Ends the server, if it still runs, and starts it again on the same port with the same store. */
  restart(): Promise<void>;
}

/** @throws Error with the server's output when it does not come up. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-nats-'));
  const storeDir = options.storeDir ?? join(folder, 'store');
  const configFile = join(folder, 'nats-server.conf');
  if (options.extraConfig !== undefined) writeFileSync(configFile, options.extraConfig);

  const start = async (requestedPort: number): Promise<{ child: RunningProcess; port: number }> => {
    let port = 0;
    const child = await startProcess({
      command: 'nats-server',
      args: [
        '-a',
        '127.0.0.1',
        '-p',
        String(requestedPort),
        '--ports_file_dir',
        folder,
        ...(options.extraConfig === undefined ? [] : ['-c', configFile]),
        ...(options.jetstream === true ? ['-js', '-sd', storeDir] : []),
        ...(options.args ?? []),
      ],
      ready: (pid) => {
        port = readPort(join(folder, `nats-server_${pid}.ports`)) ?? 0;
        return port !== 0;
      },
    });
    return { child, port };
  };

  let { child, port } = await start(options.port ?? -1).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    storeDir,
    get pid() {
      return child.pid;
    },
    output: () => child.output(),
    signal: (signal) => child.signal(signal),
    stop: async () => {
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
    kill: async () => {
      child.signal('SIGKILL');
      await child.exited;
    },
    pause: () => child.pause(),
    resume: () => void child.signal('SIGCONT'),
    restart: async () => {
      await child.stop();
      ({ child } = await start(port));
    },
  };
}

/** The server writes the file when it accepts connections; undefined while it is absent or half written. */
function readPort(portsFile: string): number | undefined {
  try {
    const ports: unknown = JSON.parse(readFileSync(portsFile, 'utf8'));
    const urls = typeof ports === 'object' && ports !== null && 'nats' in ports ? ports.nats : undefined;
    return Array.isArray(urls) ? Number(new URL(String(urls[0])).port) : undefined;
  } catch {
    return undefined;
  }
}
