/** The folder that `warder dev` keeps its things in, with copies of the samples that a person may edit. */
import { constants, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { devFolderName } from './dev-state.ts';

export interface DevFolder {
  readonly path: string;
  /** The worker's configuration. */
  readonly config: string;
  readonly policy: string;
}

const samples = fileURLToPath(new URL('../../deploy/dev', import.meta.url));

/** Copies what is not there yet: what was edited stays. */
export function prepareDevFolder(parent: string): DevFolder {
  const path = join(parent, devFolderName);
  mkdirSync(path, { recursive: true });
  // Whatever repository this is in, nobody wants to commit it.
  writeFileSync(join(path, '.gitignore'), '*\n');
  for (const name of ['policy.yaml', 'warder.yaml']) copyIfAbsent(join(samples, name), join(path, name));
  return { path, config: join(path, 'warder.yaml'), policy: join(path, 'policy.yaml') };
}

function copyIfAbsent(from: string, to: string): void {
  try {
    copyFileSync(from, to, constants.COPYFILE_EXCL);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
