// Installs the npm packages when what is in node_modules is not what package-lock.json says.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive } from './alive.mjs';
import { root, runOrFail, say, step } from './steps.mjs';

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

const folder = join(root, 'node_modules');
const record = join(folder, '.package-lock.json');
const lock = join(folder, '.warder-installing');

/** @throws SetupError with npm's output when it fails */
export async function ensureNpmPackages() {
  if (!(await takeLockUnlessInstalled())) return;
  const [file, ...args] = npmCommand(process.env);
  await step('npm packages (npm install)', async () => {
    if (!existsSync(record)) empty(folder, lock);
    const install = [
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
      // The versions are locked, so what npm has in its cache is right.
      '--prefer-offline',
      // npm repeats each failed request for itself: its own pauses add up to minutes of silence without a network.
      '--fetch-retries=1',
      '--fetch-retry-mintimeout=1000',
      '--fetch-retry-maxtimeout=1000',
    ];
    // npm would first finish what it does; the lock it leaves says that none of it counts.
    await runOrFail('the npm packages could not be installed', file, install, { killable: true });
    rmSync(lock, { force: true });
  });
}

/** @returns {Promise<boolean>} false when the packages are there, by then at the latest */
async function takeLockUnlessInstalled() {
  for (let told = false; ;) {
    const holder = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : undefined;
    if (holder === undefined) {
      if (existsSync(record) && isInstalled(readPackages(join(root, 'package-lock.json')), readPackages(record))) {
        return false;
      }
      if (takeLock()) return true;
    } else if (isAlive(holder)) {
      if (!told) say(`waiting for another set-up, process ${holder}, that installs npm packages`);
      told = true;
      await delay(200);
    } else {
      // An interrupted npm leaves packages with some of their files, which it would take for whole ones the next time.
      rmSync(record, { force: true });
      rmSync(lock, { force: true });
    }
  }
}

/** @returns {boolean} false when another set-up was faster */
function takeLock() {
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * @param {string} path of a folder
 * @param {string} except what stays in it
 */
function empty(path, except) {
  for (const name of readdirSync(path)) {
    const entry = join(path, name);
    if (entry !== except) rmSync(entry, { recursive: true, force: true });
  }
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
