/** A real PostgreSQL on loopback for tests, with the faults that tests want: paused, crashed, restarted in place. */
import { execFile, execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findPostgresBinary } from '../../deploy/setup/packages.mjs';
import { freePort } from './free-port.ts';
import { type RunningProcess, startProcess } from './process.ts';

export interface PostgresServer {
  /** With the password, the same for all restarts. */
  readonly url: string;
  readonly port: number;
  readonly password: string;
  output(): string;
  /** Runs SQL in psql, a client in another language than the one under test. Resolves to what it prints, without headers. */
  psql(sql: string): Promise<string>;
  /** Ends the server for good and removes its files. */
  stop(): Promise<void>;
  /** A fast shutdown: clients are told, and cut off. */
  shutDown(): Promise<void>;
  /** SIGKILL: nobody is told. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data, after shutting it down where it still runs. */
  restart(): Promise<void>;
  /** SIGSTOP to the server and all its children: connections stay open, new ones are made, and nothing answers. */
  pause(): Promise<void>;
  resume(): void;
}

/** What has to be encoded in a URL, so that tests notice when it is not. */
const password = 'pa55/w0rd@#%';

/** PostgreSQL refuses to run as root. */
const account = process.getuid?.() === 0 ? 'postgres' : undefined;

/** `settings` as they stand in postgresql.conf. @throws Error with the server's output when it does not come up. */
export async function startPostgresServer(settings: Record<string, string> = {}): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-postgres-'));
  const data = join(folder, 'data');
  giveAway(folder);
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, password);
  giveAway(passwordFile);
  const initOptions = ['-D', data, '-U', 'warder', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8'];
  const [initdb = '', ...initArgs] = asAccount(binary('initdb'), [...initOptions, '--locale=C', '--no-sync']);
  await promisify(execFile)(initdb, initArgs, { cwd: folder });

  const port = await freePort();
  const start = async (): Promise<RunningProcess> => {
    const given = { fsync: 'off', max_connections: '60', shared_buffers: '16MB', ...settings };
    const options = Object.entries(given).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const listen = ['-D', data, '-k', folder, '-h', '127.0.0.1', '-p', String(port)];
    const [command = '', ...args] = asAccount(binary('postgres'), [...listen, ...options]);
    return startProcess({ command, args, cwd: folder, ready: /ready to accept connections/ });
  };
  let child = await start().catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });

  const resume = (): void => {
    child.signal('SIGCONT');
    for (const pid of childrenOf(child.pid)) signal(pid, 'SIGCONT');
  };
  const end = async (how: NodeJS.Signals): Promise<void> => {
    resume();
    child.signal(how);
    await child.exited;
  };
  const env = { ...process.env, PGPASSWORD: password, PGCONNECT_TIMEOUT: '30' };
  const login = ['-h', '127.0.0.1', '-p', String(port), '-U', 'warder', '-d', 'postgres'];
  return {
    url: `postgres://warder:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`,
    port,
    password,
    output: () => child.output(),
    psql: async (sql) => {
      const args = [...login, '-X', '-q', '-t', '-A', '-v', 'ON_ERROR_STOP=1', '-c', sql];
      const { stdout } = await promisify(execFile)(binary('psql'), args, { env });
      return stdout.trimEnd();
    },
    stop: async () => {
      await end('SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
    shutDown: () => end('SIGINT'),
    kill: async () => {
      const children = childrenOf(child.pid);
      child.signal('SIGKILL');
      for (const pid of children) signal(pid, 'SIGKILL');
      await child.exited;
      while (children.some(isThere)) await delay(5);
    },
    restart: async () => {
      await end('SIGINT');
      child = await start();
    },
    pause: async () => {
      await child.pause();
      // It makes no more children now.
      const children = childrenOf(child.pid);
      for (const pid of children) signal(pid, 'SIGSTOP');
      while (children.some((pid) => isThere(pid) && stateOf(pid) !== 'T')) await delay(1);
    },
    resume,
  };
}

function binary(name: string): string {
  const path = findPostgresBinary(name);
  if (path === undefined) throw new Error(`PostgreSQL's ${name} is not installed (Debian: postgresql)`);
  return path;
}

function asAccount(command: string, args: readonly string[]): string[] {
  if (account === undefined) return [command, ...args];
  // Changing the user takes the parent-death signal away, so it is set once more.
  const how = [`--reuid=${account}`, `--regid=${account}`, '--init-groups', '--pdeathsig', 'KILL'];
  return ['setpriv', ...how, command, ...args];
}

function giveAway(path: string): void {
  if (account === undefined) return;
  const id = (flag: string) => Number(execFileSync('id', [flag, account], { encoding: 'utf8' }));
  chownSync(path, id('-u'), id('-g'));
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && statOf(pid)?.parent === parent);
}

function isThere(pid: number): boolean {
  return statOf(pid) !== undefined && stateOf(pid) !== 'Z';
}

function stateOf(pid: number): string | undefined {
  return statOf(pid)?.state;
}

function statOf(pid: number): { state: string | undefined; parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state, parent: Number(parent) };
  } catch {
    return undefined; // it has ended
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}
