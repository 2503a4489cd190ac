// Compiles src into dist when dist was made from something else than what is in src now.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, runOrFail, step } from './steps.mjs';

/**
 * A hash over all files below some paths: names and content, no times, which a checkout changes at will.
 * @param {string} folder
 * @param {readonly string[]} paths files and folders in it
 */
export function fingerprint(folder, paths) {
  const hash = createHash('sha256');
  for (const path of paths.flatMap((one) => filesBelow(folder, one)).toSorted()) {
    const content = readFileSync(join(folder, path));
    hash.update(`${path}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/**
 * @param {string} folder
 * @param {string} path
 * @returns {string[]}
 */
function filesBelow(folder, path) {
  const full = join(folder, path);
  if (!existsSync(full)) return [];
  let entries;
  try {
    entries = readdirSync(full);
  } catch {
    return [path]; // a file
  }
  return entries.flatMap((name) => filesBelow(folder, join(path, name)));
}

/** @throws SetupError with the compiler's output when it fails */
export async function ensureBuild() {
  const made = join(root, 'dist/.made-from');
  const now = fingerprint(root, ['src', 'tsconfig.json', 'package-lock.json']);
  if (existsSync(made) && readFileSync(made, 'utf8') === now) return;
  await step('build (tsc)', async () => {
    // The mark goes first and comes last: an interrupted build counts as none.
    rmSync(made, { force: true });
    removeOrphans(join(root, 'dist'), join(root, 'src'));
    await compile('src');
    writeFileSync(made, now);
  });
}

/**
 * Compiles one of the project's folders that has a tsconfig.json.
 * @param {string} folder
 */
export async function compile(folder) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  await runOrFail(`${folder} does not compile`, process.execPath, [tsc, '-p', folder]);
}

/**
 * Removes what was compiled from a source that is gone: it could still be imported by mistake.
 * @param {string} compiled
 * @param {string} source
 */
export function removeOrphans(compiled, source) {
  for (const path of filesBelow(compiled, '.')) {
    const origin = join(source, path.replace(/\.js(\.map)?$/, '.ts'));
    if (/\.js(\.map)?$/.test(path) && !existsSync(origin)) rmSync(join(compiled, path));
  }
}
