/** The hook for ejabberd, compiled from what is in its folder now. Knows nothing of its configuration. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const script = fileURLToPath(new URL('../../deploy/ejabberd/mod_warder/build', import.meta.url));

export interface BuiltHook {
  /** With the compiled modules. */
  readonly folder: string;
  remove(): void;
}

/** @throws Error with what the compiler says */
export async function buildHook(): Promise<BuiltHook> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-hook-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  await promisify(execFile)(script, [folder]).catch((error: Error & { readonly stdout?: string }) => {
    remove();
    throw new Error(`${error.message}\n${error.stdout ?? ''}`); // where the compiler complains
  });
  return { folder, remove };
}
