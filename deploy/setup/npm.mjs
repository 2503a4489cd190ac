// Installs the npm packages when what is in node_modules is not what package-lock.json says.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { root, runOrFail, step } from './steps.mjs';

/** @typedef {Record<string, { version?: string, optional?: boolean, link?: boolean }>} LockedPackages */

/**
 * Whether every locked package is installed in its locked version. Compared with npm's own record of what it has
 * installed, which it writes last, so that packages installed by hand count and an interrupted installation does not.
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
  const record = join(root, 'node_modules/.package-lock.json');
  const locked = readPackages(join(root, 'package-lock.json'));
  if (existsSync(record) && isInstalled(locked, readPackages(record))) return;
  const [file, ...args] = npmCommand(process.env);
  // Gone before npm begins to take the old packages away: what it leaves when it is interrupted is then no installation.
  rmSync(record, { force: true });
  await step('npm packages (npm ci)', () =>
    runOrFail('the npm packages could not be installed', file, [
      ...args,
      'ci',
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
    ]),
  );
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
