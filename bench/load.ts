/** The load generator from the side of Node: compiled at the beginning, then run once for each measurement. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findBinary } from '../test/servers/process.ts';

const execute = promisify(execFile);

/** What `load.c` prints. */
export interface LoadResult {
  readonly replies: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuMs: number;
}

/** Whom to ask, how, and with what. */
export type Target =
  | readonly [protocol: 'nats', port: number, file: string, subject: string]
  | readonly [protocol: 'http', port: number, file: string];

/**
 * Compiles the generator into a folder.
 * @returns its path
 * @throws Error naming what to install, or with what the compiler said
 */
export async function compileLoad(sources: string, folder: string): Promise<string> {
  const compiler = findBinary('gcc') ?? findBinary('cc');
  if (compiler === undefined) throw new Error('no C compiler: install gcc and libc6-dev');
  const binary = join(folder, 'load');
  const files = ['load.c', 'load-nats.c', 'load-http.c'].map((file) => join(sources, file));
  await execute(compiler, ['-std=c11', '-O2', '-o', binary, ...files]);
  return binary;
}

/**
 * Keeps `outstanding` requests under way for `durationMs`.
 * @throws Error when a reply is wrong or missing
 */
export async function runLoad(
  binary: string,
  target: Target,
  outstanding: number,
  durationMs: number,
): Promise<LoadResult> {
  const [protocol, port, file, ...subject] = target;
  const args = [protocol, String(port), String(outstanding), String(durationMs), file, ...subject];
  const { stdout } = await execute(binary, args, { timeout: durationMs + 10_000 });
  return JSON.parse(stdout) as LoadResult;
}
