/** Compiles what the Erlang hooks share, and what tests run beside it, with erlc. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The modules of a folder whose names match, into another folder. @throws Error with what the compiler says */
export async function compileErlang(from: string, names: RegExp, into: string, flags: readonly string[] = []) {
  const files = readdirSync(from).filter((name) => names.test(name));
  try {
    await run('erlc', [...flags, '-o', into, ...files.map((name) => join(from, name))]);
  } catch (error) {
    const said = error instanceof Error && 'stdout' in error ? String(error.stdout) : '';
    throw new Error(`erlc could not compile ${from}: ${said}`, { cause: error });
  }
}
