// Installs what is missing with apt, starting no daemon and leaving no package half installed; where that cannot be
// done, says by name what to install.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findBinary, isPresent, missingPackages } from './packages.mjs';
import { forbidDaemons } from './policy.mjs';
import { run, say, SetupError, step } from './steps.mjs';

/** @typedef {import('./packages.mjs').SystemPackage} SystemPackage */

const quietly = {
  DEBIAN_FRONTEND: 'noninteractive',
  APT_LISTCHANGES_FRONTEND: 'none',
  NEEDRESTART_SUSPEND: '1',
  LC_ALL: 'C.UTF-8',
};
const lockWaitSeconds = 120;
const aptOptions = [
  '-y',
  '-q',
  '--no-install-recommends',
  `--option=DPkg::Lock::Timeout=${lockWaitSeconds}`,
  // A configuration file from an earlier installation is kept, without a question that nobody could answer.
  '--option=Dpkg::Options::=--force-confdef',
  '--option=Dpkg::Options::=--force-confold',
];

/**
 * Sees to it that the programs that a command needs are on this machine.
 * @param {'start' | 'test' | 'bench'} command
 * @throws SetupError naming the packages when they cannot be installed
 */
export async function ensureSystemPackages(command) {
  const missing = missingPackages(command, process.env);
  if (missing.length === 0) return;
  const aptGet = findBinary('apt-get');
  const obstacle = whyNotInstallable(aptGet, process.getuid === undefined ? -1 : process.getuid());
  if (aptGet === undefined || obstacle !== undefined) throw new SetupError(cannotInstall(missing, obstacle, command));
  const policy = await takePolicy();
  try {
    // Another set-up may have installed them while this one waited for it.
    const wanted = missingPackages(command, process.env);
    if (wanted.length > 0) await install(aptGet, wanted, command);
  } finally {
    policy.release();
  }
  const still = missing.filter((one) => !isPresent(one.provides));
  if (still.length > 0)
    throw new SetupError(cannotInstall(still, 'apt installed it and it is still not found', command));
  const services = missing.filter((one) => one.service === true).map((one) => one.name);
  if (services.length > 0 && existsSync('/run/systemd/system')) {
    say(
      `Debian's own services were not started; to keep them off after a reboot: systemctl disable ${services.join(' ')}`,
    );
  }
}

/**
 * @param {string | undefined} aptGet
 * @param {number} userId
 * @returns {string | undefined} undefined when apt can be used
 */
export function whyNotInstallable(aptGet, userId) {
  if (aptGet === undefined) return 'there is no apt-get here';
  if (userId !== 0) return 'only root can install packages';
  return undefined;
}

/**
 * The message that names what to install, and how.
 * @param {readonly SystemPackage[]} missing
 * @param {string | undefined} obstacle
 * @param {'start' | 'test' | 'bench'} command
 */
export function cannotInstall(missing, obstacle, command) {
  const width = Math.max(...missing.map((one) => one.name.length));
  const lines = missing.map((one) => `  ${one.name.padEnd(width)}  ${one.reason}`);
  const names = missing.map((one) => one.name).join(' ');
  const hint = command === 'start' ? ', or set WARDER_NATS_URL to a NATS server that runs already' : '';
  return [
    `missing, and not to be installed from here: ${obstacle || 'apt failed'}`,
    ...lines,
    `Install it and run this again${hint}. On Debian, as root: apt-get install --no-install-recommends ${names}`,
  ].join('\n');
}

/**
 * @param {string} aptGet
 * @param {readonly SystemPackage[]} missing
 * @param {'start' | 'test' | 'bench'} command
 */
async function install(aptGet, missing, command) {
  const names = missing.map((one) => one.name);
  /** @param {string} output */
  const failed = (output) => new SetupError(cannotInstall(missing, 'apt failed, see above', command), { output });

  // One broken source among an administrator's own makes `update` fail and need not be the one that is needed here.
  const update = await step('package lists (apt-get update)', () => updateLists(aptGet));
  await step(`${names.join(', ')} (apt-get install)`, async () => {
    // Fetching may be interrupted at any moment. Unpacking may not: it would leave dpkg to be repaired by hand.
    const fetched = await run(aptGet, ['install', '--download-only', ...aptOptions, ...names], { env: quietly });
    if (fetched.code !== 0) throw failed(update + fetched.output);
    const uninterruptible = 'apt is let finish, so that no package stays half installed';
    const dpkg = findBinary('dpkg');
    if (dpkg !== undefined && wasInterrupted())
      await run(dpkg, ['--configure', '-a'], { env: quietly, uninterruptible });
    const configurations = missing.flatMap(({ whileInstalling }) => whileInstalling || []);
    const removeConfigurations = putConfigurations(configurations);
    try {
      const installed = await run(aptGet, ['install', ...aptOptions, ...names], { env: quietly, uninterruptible });
      if (installed.code !== 0) throw failed(update + installed.output);
    } finally {
      removeConfigurations();
    }
  });
}

/**
 * Puts configuration files in place; one that is there already stays as it is, and stays there.
 * @param {readonly { file: string, text: string }[]} configurations
 * @returns {() => void} removes what was put
 */
export function putConfigurations(configurations) {
  const put = configurations.filter(({ file }) => !existsSync(file));
  for (const { file, text } of put) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return () => {
    for (const { file } of put) rmSync(file, { force: true });
  };
}

/** Where apt itself looks for whether an earlier dpkg was cut off. */
function wasInterrupted() {
  try {
    return readdirSync('/var/lib/dpkg/updates').some((name) => /^\d+$/.test(name));
  } catch {
    return false;
  }
}

/**
 * @param {string} aptGet
 * @returns {Promise<string>} what it printed if it failed, else nothing
 */
async function updateLists(aptGet) {
  const giveUpAtMs = Date.now() + lockWaitSeconds * 1000;
  for (;;) {
    const { code, output } = await run(aptGet, ['update', '-q'], { env: quietly });
    if (code === 0) return '';
    // apt waits for dpkg's lock by itself, but not for that of its lists.
    if (!/could not get lock/i.test(output) || Date.now() > giveUpAtMs) return output;
    await delay(1000);
  }
}

/** Waits for another set-up on this machine to finish with apt. */
async function takePolicy() {
  let told = false;
  for (;;) {
    const policy = forbidDaemons();
    if ('release' in policy) return policy;
    if (!told) say(`waiting for another set-up, process ${policy.heldBy}, that installs packages`);
    told = true;
    await delay(500);
  }
}
