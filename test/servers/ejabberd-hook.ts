/** The hook for ejabberd, compiled from what is in its folder when the first test of a process asks. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const script = fileURLToPath(new URL('../../deploy/ejabberd/mod_warder/build', import.meta.url));

let built: Promise<string> | undefined;

/** @returns the folder with the compiled modules, there until the process ends. @throws Error with what the compiler says */
export function buildHook(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-hook-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await promisify(execFile)(script, [folder]).catch((error: Error & { readonly stdout?: string }) => {
    throw new Error(`${error.message}\n${error.stdout ?? ''}`); // where the compiler complains
  });
  return folder;
}
