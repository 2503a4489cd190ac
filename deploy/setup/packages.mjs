// The programs outside npm that Warder is tried out and tested with: one list, each with its reason.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * @typedef {object} SystemPackage
 * @property {string} name of the Debian package
 * @property {{ binary: string } | { postgresBinary: string } | { luaModule: string } | { file: string } | { erlangFile: string }} provides what must be there; who installed it does not matter
 * @property {boolean} [service] the package brings a daemon that Debian enables
 * @property {{ file: string, text: string }} [whileInstalling] a configuration file that is there just then
 * @property {readonly ('start' | 'test' | 'bench')[]} for the commands that need it
 * @property {string} reason
 */

/** @type {readonly SystemPackage[]} */
export const systemPackages = [
  {
    name: 'nats-server',
    provides: { binary: 'nats-server' },
    service: true,
    for: ['start', 'test', 'bench'],
    reason: 'the broker between the XMPP servers and the workers',
  },
  {
    name: 'prosody',
    provides: { binary: 'prosody' },
    service: true,
    for: ['test', 'bench'],
    reason: 'the XMPP server that mod_warder is tested and measured in',
  },
  {
    name: 'prosody-modules',
    provides: { file: '/usr/lib/prosody/modules/mod_privacy_lists/mod_privacy_lists.lua' },
    for: ['test'],
    reason: 'privacy lists (XEP-0016) for Prosody, whose rules take groups of a roster',
  },
  {
    name: 'ejabberd',
    provides: { binary: 'ejabberdctl' },
    service: true,
    for: ['test', 'bench'],
    reason: 'the XMPP server on Erlang that the same behaviours are tested in',
  },
  {
    name: 'erlang-dev',
    provides: { erlangFile: 'eunit/include/eunit.hrl' },
    for: ['test', 'bench'],
    reason: 'the headers that the Erlang hooks and their tests are compiled with',
  },
  {
    name: 'erlang-eunit',
    provides: { erlangFile: 'eunit/ebin/eunit.beam' },
    for: ['test'],
    reason: "runs the Erlang hooks' tests that need no XMPP server",
  },
  {
    name: 'erlang-jiffy',
    provides: { erlangFile: 'jiffy/ebin/jiffy.beam' },
    for: ['test'],
    reason: "an independent JSON, which the Erlang hooks' is compared with",
  },
  {
    name: 'postgresql',
    provides: { postgresBinary: 'postgres' },
    service: true,
    // Tests make databases of their own in temporary folders; one for the whole system is nobody's wish.
    whileInstalling: {
      file: '/etc/postgresql-common/createcluster.d/warder.conf',
      text: 'create_main_cluster = false\n',
    },
    for: ['test'],
    reason: 'the database that rosters are read from and listened to in',
  },
  {
    name: 'lua5.4',
    provides: { binary: 'lua5.4' },
    for: ['test'],
    reason: "runs mod_warder's tests that need no Prosody",
  },
  {
    name: 'lua-messagepack',
    // Not asked for by `require`: Debian 12 has it in the folders of Lua 5.1 to 5.3 only.
    provides: { file: '/usr/share/lua/5.3/MessagePack.lua' },
    for: ['test'],
    reason: "an independent MessagePack, which mod_warder's is compared with",
  },
  {
    name: 'lua-unbound',
    provides: { luaModule: 'lunbound' },
    for: ['test'],
    reason: 'without it Prosody 0.12 resolves names with its older, blocking resolver',
  },
  {
    name: 'lua-check',
    provides: { binary: 'luacheck' },
    for: ['test'],
    reason: 'lints mod_warder',
  },
  {
    name: 'openssl',
    provides: { binary: 'openssl' },
    for: ['test'],
    reason: 'makes the certificates of the tests with TLS',
  },
  {
    name: 'curl',
    provides: { binary: 'curl' },
    for: ['test'],
    reason: "asks a worker's HTTP port over TLS, as an operator's scripts do",
  },
  {
    name: 'prometheus',
    provides: { binary: 'promtool' },
    service: true,
    for: ['test'],
    reason: 'scrapes the workers of the tests, and checks its own configuration and rules',
  },
  {
    name: 'systemd',
    provides: { binary: 'systemd-analyze' },
    for: ['test'],
    reason: 'reads the units for systemd as it would',
  },
  {
    name: 'docker-compose',
    provides: { binary: 'docker-compose' },
    for: ['test'],
    reason: 'reads the composition as it would; no engine is needed for that',
  },
  {
    name: 'gcc',
    provides: { binary: 'gcc' },
    for: ['bench'],
    reason: 'compiles the load generator: one in JavaScript would itself be the bottleneck',
  },
  {
    name: 'libc6-dev',
    provides: { file: '/usr/include/stdio.h' },
    for: ['bench'],
    reason: 'the C headers for it',
  },
];

// Debian puts servers into sbin, which is not on every user's PATH.
const sbinFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * @param {string} name
 * @param {string} [path] as in the environment
 * @returns {string | undefined} the path of an executable of that name
 */
export function findBinary(name, path = process.env['PATH'] || '') {
  const folders = path.split(delimiter).filter((folder) => folder !== '');
  return [...folders, ...sbinFolders].map((folder) => join(folder, name)).find(isExecutable);
}

// Debian keeps each major version in a folder of its own, and only the clients on PATH.
const postgresFolder = '/usr/lib/postgresql';

/**
 * @param {string} name of a program of the PostgreSQL server
 * @returns {string | undefined} its path, in the newest version that is here
 */
export function findPostgresBinary(name) {
  const versions = existsSync(postgresFolder) ? readdirSync(postgresFolder) : [];
  const newestFirst = versions.toSorted((a, b) => Number(b) - Number(a));
  const paths = newestFirst.map((version) => join(postgresFolder, version, 'bin', name));
  return paths.find(isExecutable) || findBinary(name);
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * @param {SystemPackage['provides']} provides
 * @returns {boolean}
 */
export function isPresent(provides) {
  if ('binary' in provides) return findBinary(provides.binary) !== undefined;
  if ('postgresBinary' in provides) return findPostgresBinary(provides.postgresBinary) !== undefined;
  if ('file' in provides) return existsSync(provides.file);
  if ('erlangFile' in provides) return hasErlangFile(provides.erlangFile);
  // The version of Lua that Debian's Prosody runs on: a module for another one would not help.
  const lua = findBinary('lua5.4');
  if (lua === undefined) return false;
  return spawnSync(lua, ['-e', `require '${provides.luaModule}'`], { stdio: 'ignore' }).status === 0;
}

/**
 * Debian puts the version of a library into the name of its folder.
 * @param {string} path library/path
 */
function hasErlangFile(path) {
  const [library = '', ...rest] = path.split('/');
  const libraries = '/usr/lib/erlang/lib';
  if (!existsSync(libraries)) return false;
  const folders = readdirSync(libraries).filter((name) => name.startsWith(`${library}-`));
  return folders.some((name) => existsSync(join(libraries, name, ...rest)));
}

/**
 * What a command needs and this machine does not have.
 * @param {'start' | 'test' | 'bench'} command
 * @param {Record<string, string | undefined>} environment a NATS URL in it makes a local nats-server needless for `start`
 * @param {(provides: SystemPackage['provides']) => boolean} [present]
 */
export function missingPackages(command, environment, present = isPresent) {
  const ownBroker = command === 'start' && (environment['WARDER_NATS_URL'] || '').trim() !== '';
  return systemPackages
    .filter((one) => one.for.includes(command) && !(ownBroker && one.name === 'nats-server'))
    .filter((one) => !present(one.provides));
}
