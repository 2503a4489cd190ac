/**
 * One child process of a test: started in the foreground, awaited until ready, ended by its pid.
 * Knows nothing of what it runs; each server has a file of its own beside this one.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface ProcessOptions {
  /** A binary's name, looked for on PATH and in the sbin folders, or a path. */
  command: string;
  args?: readonly string[];
  cwd?: string;
  /** Added to this process's environment; `undefined` removes a variable. */
  env?: Readonly<Record<string, string | undefined>>;
  /** When the child is ready: its output matches, or the function (asked again and again) says true. Absent: at once. */
  ready?: RegExp | ((pid: number) => boolean | Promise<boolean>);
  /** Whether it is told things by `write`; absent: its stdin is empty. */
  hasInput?: boolean;
  /** How long to wait for `ready`; default 45 s. */
  readyTimeoutMs?: number;
  /** How long `stop` waits after SIGTERM before SIGKILL; default 5 s. */
  stopTimeoutMs?: number;
}

export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningProcess {
  readonly pid: number;
  /** stdout and stderr as they came, the last 256 KiB of them. */
  output(): string;
  /** Waits until the output matches; throws with the output when the child ends first or `timeoutMs` (default 45 s) has passed. */
  waitForOutput(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** To its stdin, if it has one. */
  write(text: string): void;
  /** Sends a signal; false when the child has ended already. */
  signal(signal: NodeJS.Signals): boolean;
  /** SIGSTOP, resolved when every thread stands still; `signal('SIGCONT')` wakes it. */
  pause(): Promise<void>;
  /** SIGTERM (a paused child is woken for it), then SIGKILL when it takes too long. Any number of times. */
  stop(): Promise<ProcessExit>;
  /** Resolves when the child has ended, however that came about. Never rejects. */
  readonly exited: Promise<ProcessExit>;
}

/** Against hangs only: a busy machine takes its time. */
const hangMs = 45_000;
const outputLimit = 256 * 1024;
const readyPollMs = 10;
const sbinFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** Debian puts servers into sbin, which is not on every user's PATH. Undefined when there is no such binary. */
export function findBinary(command: string): string | undefined {
  if (command.includes('/')) return isExecutable(command) ? command : undefined;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== ''), ...sbinFolders];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

// Two nets under a test that ends without stopping its children. The exit listener covers an ordinary end; a test
// worker that is killed runs no listeners, and there the kernel's parent-death signal ends the children.
const running = new Set<RunningProcess>();
process.on('exit', () => {
  for (const child of running) child.signal('SIGKILL');
});

/**
 * Starts a child and waits until it is ready.
 * @throws Error with the child's output when it cannot be started, ends before it is ready, or is not ready in time
 *   (it is then ended).
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const { command, args = [], ready, readyTimeoutMs = hangMs } = options;
  const binary = findBinary(command);
  if (binary === undefined) throw new Error(`${command} is neither on PATH nor in ${sbinFolders.join(', ')}`);
  const child = spawnCollecting(binary, args, options);
  if (ready === undefined) return child;
  try {
    await (ready instanceof RegExp
      ? child.waitForOutput(ready, readyTimeoutMs)
      : untilReady(command, child, ready, readyTimeoutMs));
  } catch (error) {
    await child.stop();
    throw error;
  }
  return child;
}

function spawnCollecting(binary: string, args: readonly string[], options: ProcessOptions): RunningProcess {
  const { command, cwd, env, hasInput = false, stopTimeoutMs = 5_000 } = options;
  const setpriv = findBinary('setpriv');
  const [file, argv] = setpriv === undefined ? [binary, args] : [setpriv, ['--pdeathsig', 'KILL', binary, ...args]];
  const environment = { ...process.env, ...env };
  const child = spawn(file, argv, { cwd, env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
  // What ends while it is told something has ended, which `exited` says.
  child.stdin.on('error', () => undefined);
  if (!hasInput) child.stdin.end();

  let output = '';
  const outputListeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      output = (output + chunk).slice(-outputLimit);
      for (const listener of outputListeners) listener();
    });
  }
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('error', (error) => {
      output += `${error.message}\n`;
      resolve({ code: null, signal: null });
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  // The last output may come after the exit; a grandchild that keeps the pipe open must not hold this up.
  const outputEnded = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    void exited.then(() => delay(500, undefined, { ref: false })).then(resolve);
  });

  const self: RunningProcess = {
    pid: child.pid ?? -1,
    output: () => output,
    waitForOutput: (pattern, timeoutMs = hangMs) =>
      new Promise((resolve, reject) => {
        const look = (): boolean => {
          const match = output.match(pattern);
          if (match === null) return false;
          settle();
          resolve(match);
          return true;
        };
        const fail = (what: string): void => {
          settle();
          reject(new Error(`${command} ${what}; its output:\n${output}`));
        };
        const timer = setTimeout(() => fail(`did not print ${String(pattern)} within ${timeoutMs} ms`), timeoutMs);
        const settle = (): void => {
          clearTimeout(timer);
          outputListeners.delete(look);
        };
        outputListeners.add(look);
        void exited
          .then(async (exit) => outputEnded.then(() => exit))
          .then((exit) => outputListeners.has(look) && !look() && fail(`${ended(exit)} before ${String(pattern)}`));
        look();
      }),
    write: (text) => void child.stdin.write(text),
    // `kill` of a child that has been reaped sends nothing, so a pid given to another process meanwhile is safe.
    signal: (signal) => child.kill(signal),
    pause: async () => {
      child.kill('SIGSTOP');
      // The signal stops one thread at once and the others a moment later.
      while (child.exitCode === null && child.signalCode === null && !allThreadsStopped(self.pid)) await delay(1);
    },
    stop: async () => {
      child.kill('SIGTERM');
      child.kill('SIGCONT');
      const stopped = await Promise.race([exited, delay(stopTimeoutMs, undefined, { ref: false })]);
      if (stopped === undefined) child.kill('SIGKILL');
      return exited;
    },
    exited,
  };
  running.add(self);
  void exited.then(() => running.delete(self));
  return self;
}

function allThreadsStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
  });
}

async function untilReady(
  command: string,
  child: RunningProcess,
  isReady: (pid: number) => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isReady(child.pid))) {
    const exit = await Promise.race([child.exited, delay(readyPollMs)]);
    if (exit !== undefined) {
      await delay(0); // what it printed last is read from the pipe in the turn after its exit
      throw new Error(`${command} ${ended(exit)} before it was ready; its output:\n${child.output()}`);
    }
    if (performance.now() > deadline) {
      throw new Error(`${command} was not ready within ${timeoutMs} ms; its output:\n${child.output()}`);
    }
  }
}

function ended(exit: ProcessExit): string {
  return exit.signal === null ? `ended with code ${exit.code ?? 'unknown'}` : `was ended by ${exit.signal}`;
}
