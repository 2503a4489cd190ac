/** The nats-server that `warder dev` starts: with JetStream, on loopback, and never outliving whoever started it. */
import { spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface Broker {
  readonly url: string;
  readonly pid: number;
  /** Resolves when it has ended, with what it said last. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

/** Debian puts servers into sbin, which is not on every user's PATH. */
const serverFolders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin'];

const startTimeoutMs = 10_000;
const stopTimeoutMs = 5_000;

/**
 * Starts a nats-server and waits until it accepts connections.
 * @throws Error that says what to install, or what the server said when it did not start
 */
export async function startBroker(port: number, folder: string): Promise<Broker> {
  const binary = findBinary('nats-server');
  if (binary === undefined) {
    throw new Error(
      'nats-server is not installed: on Debian, as root, apt-get install nats-server;' +
        ' or set WARDER_NATS_URL to a NATS server that runs already',
    );
  }
  const logFile = join(folder, 'nats-server.log');
  const storeFolder = join(folder, 'jetstream');
  const args = ['-a', '127.0.0.1', '-p', String(port), '-n', 'warder-dev', '-js', '-sd', storeFolder];
  const log = openSync(logFile, 'w');
  // In a process group of its own, so that Ctrl-C in the terminal does not end it before the worker has said goodbye.
  // The kernel ends it if this process is killed (prctl PR_SET_PDEATHSIG).
  const setpriv = findBinary('setpriv');
  const [file, argv] = setpriv === undefined ? [binary, args] : [setpriv, ['--pdeathsig', 'TERM', binary, ...args]];
  const child = spawn(file, argv, { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  const said = () => readFileSync(logFile, 'utf8').trim().split('\n').slice(-5).join('\n');
  let hasEnded = false;
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', () => resolve(said()));
  }).finally(() => {
    hasEnded = true;
  });
  const endAtOnce = () => void child.kill('SIGKILL');
  process.once('exit', endAtOnce);
  const stop = async () => {
    child.kill('SIGTERM');
    const patience = new AbortController();
    const late = delay(stopTimeoutMs, 'late', { signal: patience.signal }).catch(() => undefined);
    if ((await Promise.race([ended, late])) === 'late') child.kill('SIGKILL');
    patience.abort();
    await ended;
    process.off('exit', endAtOnce);
  };
  const giveUpAtMs = performance.now() + startTimeoutMs;
  while (!(await accepts(port))) {
    if (!hasEnded && performance.now() < giveUpAtMs) {
      await delay(20);
      continue;
    }
    await stop();
    throw new Error(`nats-server did not start; it said:\n${await ended}`);
  }
  return { url: `nats://127.0.0.1:${port}`, pid: child.pid ?? -1, ended, stop };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

function findBinary(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...folders, ...serverFolders]
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
