// Keeps daemons from starting while Debian packages are installed: a policy-rc.d that says no, put in place for that
// time only. The file is the lock between two set-ups at once, too.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isAlive } from './alive.mjs';

export const policyPath = '/usr/sbin/policy-rc.d';

const ours = /^# Warder's set-up, process (\d+)$/m;

/**
 * Forbids daemons to start until `release` is called or this process exits. An administrator's own policy is put
 * aside and comes back; what a killed set-up has left is cleared away first.
 * @param {string} [path] invoke-rc.d and deb-systemd-invoke look at `policyPath` only; another one is for tests
 * @returns {{ release: () => void } | { heldBy: number }} the process that installs just now, if another one does
 */
export function forbidDaemons(path = policyPath) {
  const aside = `${path}.warder-saved`;
  const draft = `${path}.warder-${process.pid}`;
  const holder = holderOf(path);
  if (holder !== undefined && isAlive(holder)) return { heldBy: holder };
  if (holder !== undefined) putBack(path, aside);
  ignoreMissing(() => renameSync(path, aside));
  // 101 is "action forbidden by policy". Written beside and linked: it appears whole, and only if nobody was faster.
  writeFileSync(draft, `#!/bin/sh\n# Warder's set-up, process ${process.pid}\nexit 101\n`, { mode: 0o755 });
  try {
    linkSync(draft, path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    return forbidDaemons(path);
  } finally {
    rmSync(draft);
  }
  const release = () => {
    process.off('exit', release);
    if (holderOf(path) === process.pid) putBack(path, aside);
  };
  process.on('exit', release);
  return { release };
}

/**
 * @param {string} path
 * @param {string} aside
 */
function putBack(path, aside) {
  // Renaming over it, so that there is no moment without the administrator's policy.
  if (!ignoreMissing(() => renameSync(aside, path))) rmSync(path, { force: true });
}

/**
 * @param {string} path
 * @returns {number | undefined} the process whose policy it is, if it is one of ours
 */
function holderOf(path) {
  let text = '';
  ignoreMissing(() => (text = readFileSync(path, 'utf8')));
  const match = ours.exec(text);
  return match === null ? undefined : Number(match[1]);
}

/**
 * @param {() => void} action
 * @returns {boolean} false when the file that it is about does not exist
 */
function ignoreMissing(action) {
  try {
    action();
    return true;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return false;
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
