// Installs the npm packages when what is in node_modules is not what package-lock.json says.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { root, runOrFail, step } from './steps.mjs';

/** @typedef {Record<string, { version?: string, optional?: boolean, link?: boolean }>} LockedPackages */

/**
 * Whether every locked package is installed in its locked version. Compared with npm's own record of what it has
 * installed, so that what was installed by hand counts.
 * @param {LockedPackages} locked `packages` of package-lock.json
 * @param {LockedPackages} installed `packages` of node_modules/.package-lock.json
 */
export function isInstalled(locked, installed) {
  return Object.entries(locked).every(([path, { version, optional }]) => {
    if (path === '') return true; // the project itself
    const there = installed[path];
    // Optional packages are mostly binaries for other platforms.
    return there === undefined ? optional === true : there.version === version;
  });
}

/** @throws SetupError with npm's output when it fails */
export async function ensureNpmPackages() {
  const folder = join(root, 'node_modules');
  const record = join(folder, '.package-lock.json');
  const unfinished = join(folder, '.warder-installing');
  const whole = existsSync(record) && !existsSync(unfinished);
  if (whole && isInstalled(readPackages(join(root, 'package-lock.json')), readPackages(record))) return;
  const [file, ...args] = npmCommand(process.env);
  await step('npm packages (npm install)', async () => {
    // An interrupted npm leaves packages with some of their files, which it would take for whole ones the next time.
    if (!whole) rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(unfinished, '');
    await runOrFail('the npm packages could not be installed', file, [
      ...args,
      // Not `ci`, which insists on an entry in package-lock.json for each optional binary of every other platform.
      'install',
      '--no-save',
      // The build needs them whatever NODE_ENV says. No package of ours needs its install script: the native parts
      // come as packages of their own.
      '--include=dev',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      // npm's own pauses add up to more than a minute of silence where there is no network.
      '--fetch-retry-mintimeout=1000',
      '--fetch-retry-maxtimeout=5000',
    ]);
    rmSync(unfinished, { force: true });
  });
}

/**
 * The npm that runs us, or else the one on PATH.
 * @param {Record<string, string | undefined>} environment
 * @returns {[string, ...string[]]}
 */
export function npmCommand(environment) {
  const running = environment['npm_execpath'];
  return running !== undefined && basename(running) === 'npm-cli.js' ? [process.execPath, running] : ['npm'];
}

/**
 * @param {string} lockFile
 * @returns {LockedPackages}
 */
function readPackages(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages || {};
  } catch {
    return {}; // half written
  }
}
