// How a set-up talks and ends: one line a step with its time, children run quietly with their output shown on failure,
// one place for signals. Knows nothing of what is set up.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { nodeProblem } from './node-version.mjs';

/** The project's folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** EX_UNAVAILABLE of sysexits.h: something is missing that could not be installed. */
const unavailable = 69;
const signalCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** Ends the set-up with a message for the user and no stack. */
export class SetupError extends Error {
  /**
   * @param {string} message
   * @param {{ exitCode?: number, output?: string }} [details] `output` is shown before the message
   */
  constructor(message, { exitCode = unavailable, output = '' } = {}) {
    super(message);
    this.exitCode = exitCode;
    this.output = output === '' ? '' : `${output.trimEnd()}\n`;
  }
}

/** @param {string} line */
export function say(line) {
  process.stdout.write(`warder: ${line}\n`);
}

/**
 * Does one step of a set-up, on one line: what it is at once, and when it is done how long it took.
 * @template T
 * @param {string} title
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function step(title, action) {
  const begun = process.hrtime.bigint();
  process.stdout.write(`warder: ${title} ... `);
  /** @param {string} outcome */
  const close = (outcome) => {
    const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
    process.stdout.write(`${outcome}${seconds.toFixed(1)} s\n`);
  };
  try {
    const result = await action();
    close('');
    return result;
  } catch (error) {
    close(error instanceof Interrupted ? 'interrupted after ' : 'failed after ');
    throw error;
  }
}

class Interrupted extends SetupError {
  /** @param {keyof typeof signalCodes} signal */
  constructor(signal) {
    super(`stopped by ${signal}; running it again goes on from here`, { exitCode: signalCodes[signal] });
  }
}

/** @type {keyof typeof signalCodes | undefined} */
let interruptedBy;
let interruptedAtMs = 0;
/** @type {((signal: NodeJS.Signals) => void) | undefined} */
let interruptChild;

/** @param {keyof typeof signalCodes} signal */
function onSignal(signal) {
  if (interruptedBy !== undefined) {
    // npm passes on a Ctrl-C that the terminal has sent to us already, so one key arrives twice. What comes later is a
    // second, impatient one.
    if (Date.now() - interruptedAtMs > 500 && interruptChild !== undefined) interruptChild('SIGKILL');
    return;
  }
  interruptedBy = signal;
  interruptedAtMs = Date.now();
  if (interruptChild !== undefined) {
    interruptChild(signal);
    return;
  }
  process.stdout.write('\n');
  process.exit(signalCodes[signal]);
}

/**
 * Runs a set-up: refuses a Node that is too old, turns errors into one line and an exit code, and signals into an
 * orderly end. When `action` returns, signals have their default meaning again.
 * @param {() => Promise<number | void>} action returns the exit code; nothing when the process is to go on
 */
export async function runSetup(action) {
  const problem = nodeProblem(process.versions.node);
  if (problem !== undefined) {
    process.stderr.write(`warder: ${problem}\n`);
    process.exit(unavailable);
  }
  for (const signal of Object.keys(signalCodes)) process.on(signal, onSignal);
  try {
    const code = await action();
    if (code !== undefined) process.exitCode = code;
  } catch (error) {
    // What the file system refuses (permission, space) is the user's to mend as well, and its message says what it is.
    if (!(error instanceof SetupError) && !(error instanceof Error && 'syscall' in error)) throw error;
    const { output, exitCode } = error instanceof SetupError ? error : { output: '', exitCode: unavailable };
    process.stderr.write(`${output}warder: ${error.message}\n`);
    process.exitCode = exitCode;
  } finally {
    for (const signal of Object.keys(signalCodes)) process.off(signal, onSignal);
  }
}

/**
 * Runs a program to its end and collects what it prints (or lets it print, with `show`).
 *
 * The child has a process group of its own, so that a Ctrl-C in the terminal reaches it through us alone: a child
 * that must not be cut off half-way (`uninterruptible`) is waited for, any other is told to end.
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{ env?: Record<string, string>, show?: boolean, uninterruptible?: string, killable?: boolean }} [options]
 *   `uninterruptible` is what the user is told about why it goes on; `killable` ends it at once, whatever it leaves
 * @returns {Promise<{ code: number, output: string }>} code 127 when it could not be started
 * @throws SetupError when a signal came meanwhile
 */
export async function run(file, args, options = {}) {
  const { env = {}, show = false, uninterruptible, killable = false } = options;
  const child = spawn(file, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: show ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    stream.setEncoding('utf8');
    stream.on('data', (/** @type {string} */ chunk) => (output += chunk));
  }
  interruptChild = (signal) => {
    if (uninterruptible === undefined) killGroup(child.pid, killable ? 'SIGKILL' : signal);
    else if (signal !== 'SIGKILL') process.stdout.write(`\nwarder: ${uninterruptible} ... `);
  };
  const code = await new Promise((resolve) => {
    child.once('error', (error) => {
      output += `${error.message}\n`;
      resolve(127);
    });
    child.once('close', (exitCode) => resolve(exitCode === null ? 1 : exitCode));
  });
  interruptChild = undefined;
  if (interruptedBy !== undefined) throw new Interrupted(interruptedBy);
  return { code, output };
}

/**
 * The whole group, as a terminal would: some tools are a script that waits for the real program.
 * @param {number | undefined} pid of its leader
 * @param {NodeJS.Signals} signal
 */
function killGroup(pid, signal) {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // It has ended in this moment.
  }
}

/**
 * As `run`, and a failure ends the set-up: the child's output, then one line.
 * @param {string} failure the line
 * @param {string} file
 * @param {readonly string[]} args
 * @param {Parameters<typeof run>[2]} [options]
 */
export async function runOrFail(failure, file, args, options) {
  const { code, output } = await run(file, args, options);
  if (code !== 0) throw new SetupError(`${failure} (exit code ${code})`, { output });
}
