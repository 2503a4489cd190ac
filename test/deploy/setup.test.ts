import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cannotInstall, putConfigurations, whyNotInstallable } from '../../deploy/setup/apt.mjs';
import { fingerprint, removeOrphans } from '../../deploy/setup/build.mjs';
import { nodeProblem } from '../../deploy/setup/node-version.mjs';
import { isInstalled, npmCommand } from '../../deploy/setup/npm.mjs';
import { findBinary, missingPackages, systemPackages } from '../../deploy/setup/packages.mjs';
import { forbidDaemons } from '../../deploy/setup/policy.mjs';
import { summarise } from '../../deploy/setup/summary.mjs';

const setup = fileURLToPath(new URL('../../deploy/setup', import.meta.url));
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warder-test-setup-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the Node that is needed', () => {
  it.each(['20.19.0', '20.20.2', '22.12.0', '23.0.0', '24.1.0', '100.0.0'])('%s will do', (version) => {
    expect(nodeProblem(version)).toBeUndefined();
  });

  it.each(['18.19.0', '20.18.3', '21.7.0', '22.11.0', '16.0.0'])(
    '%s will not, and one line says what will',
    (version) => {
      expect(nodeProblem(version)).toContain(`this is Node ${version}; Node 20.19 or later is needed`);
      expect(nodeProblem(version)).not.toContain('\n');
    },
  );

  it('is what package.json says too', () => {
    const manifest: unknown = JSON.parse(readFileSync(join(setup, '../../package.json'), 'utf8'));
    expect(manifest).toMatchObject({ engines: { node: '^20.19.0 || >=22.12.0' } });
  });
});

describe('the packages that are needed', () => {
  const names = (command: 'start' | 'test', environment: Record<string, string>, present: readonly string[] = []) =>
    missingPackages(command, environment, (provides) =>
      systemPackages.some((one) => one.provides === provides && present.includes(one.name)),
    ).map((one) => one.name);

  it('are a broker for a start, and none where a NATS URL is given', () => {
    expect(names('start', {})).toEqual(['nats-server']);
    expect(names('start', { WARDER_NATS_URL: ' ' })).toEqual(['nats-server']);
    expect(names('start', { WARDER_NATS_URL: 'nats://nats.example:4222' })).toEqual([]);
  });

  it('are those not here yet, for tests a broker of their own in any case', () => {
    const needed = names('test', { WARDER_NATS_URL: 'nats://nats.example:4222' });
    expect(needed).toEqual(expect.arrayContaining(['nats-server', 'prosody', 'lua-unbound']));
    expect(names('test', {}, ['prosody', 'openssl'])).toEqual(
      needed.filter((name) => name !== 'prosody' && name !== 'openssl'),
    );
  });

  it('are found in sbin when PATH does not lead there', () => {
    writeFileSync(join(folder, 'tool'), '', { mode: 0o755 });
    writeFileSync(join(folder, 'note'), '', { mode: 0o644 });
    mkdirSync(join(folder, 'cp'));
    expect(findBinary('tool', folder)).toBe(join(folder, 'tool'));
    expect(findBinary('note', folder)).toBeUndefined();
    expect(findBinary('cp', folder)).toBeUndefined();
    expect(findBinary('chroot', folder)).toMatch(/sbin\/chroot$/);
  });

  it('are named with reason and command where they cannot be installed', () => {
    expect(whyNotInstallable('/usr/bin/apt-get', 0)).toBeUndefined();
    const text = cannotInstall(
      missingPackages('start', {}, () => false),
      whyNotInstallable('/usr/bin/apt-get', 1000),
      'start',
    );
    expect(text).toContain('only root can install packages');
    expect(text).toContain('nats-server  the broker');
    expect(text).toContain('WARDER_NATS_URL');
    expect(text).toMatch(/as root: apt-get install --no-install-recommends nats-server$/);
    expect(whyNotInstallable(undefined, 0)).toContain('no apt-get');
  });
});

describe('configuration that is there while packages are installed', () => {
  it('is gone afterwards, and is not put over what was there', () => {
    const ours = { file: join(folder, 'of/ours.conf'), text: 'ours' };
    const theirs = { file: join(folder, 'theirs.conf'), text: 'ours' };
    writeFileSync(theirs.file, 'theirs');
    const remove = putConfigurations([ours, theirs]);
    expect([ours, theirs].map(({ file }) => readFileSync(file, 'utf8'))).toEqual(['ours', 'theirs']);
    remove();
    expect([ours, theirs].map(({ file }) => existsSync(file))).toEqual([false, true]);
  });
});

describe('the policy against daemons', () => {
  const path = () => join(folder, 'policy-rc.d');
  const take = () => {
    const policy = forbidDaemons(path());
    if (!('release' in policy)) throw new Error(`held by ${policy.heldBy}`);
    return policy;
  };

  it('forbids every action, and is gone afterwards', () => {
    const policy = take();
    expect(spawnSync(path(), ['nats-server', 'start']).status).toBe(101);
    policy.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("puts an administrator's policy aside and back, with its mode", () => {
    writeFileSync(path(), '#!/bin/sh\nexit 104\n');
    chmodSync(path(), 0o744);
    const policy = take();
    expect(spawnSync(path()).status).toBe(101);
    policy.release();
    expect(readFileSync(path(), 'utf8')).toBe('#!/bin/sh\nexit 104\n');
    expect(statSync(path()).mode % 0o1000).toBe(0o744);
    expect(readdirSync(folder)).toEqual(['policy-rc.d']);
  });

  it('is released once, not what someone else has put there since', () => {
    const policy = take();
    writeFileSync(path(), 'other');
    policy.release();
    policy.release();
    expect(readFileSync(path(), 'utf8')).toBe('other');
  });

  const holder = `import { forbidDaemons } from ${JSON.stringify(join(setup, 'policy.mjs'))};
    forbidDaemons(process.env.POLICY);
    console.log('held');`;
  const hold = async (rest: string) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', `${holder}${rest}`], {
      env: { ...process.env, POLICY: path() },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    return { child, ended: once(child, 'exit') };
  };

  it('is put back when the set-up throws', async () => {
    writeFileSync(path(), 'original');
    const { ended } = await hold('setTimeout(() => process.exit(3), 1)');
    expect(await ended).toEqual([3, null]);
    expect(readFileSync(path(), 'utf8')).toBe('original');
    expect(readdirSync(folder)).toEqual(['policy-rc.d']);
  });

  it('belongs to one set-up at a time, and what a killed one left is cleared away by the next', async () => {
    writeFileSync(path(), 'original');
    const { child, ended } = await hold('setInterval(() => {}, 1000)');
    expect(forbidDaemons(path())).toEqual({ heldBy: child.pid });
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(`${path()}.warder-saved`)).toBe(true);
    take().release();
    expect(readFileSync(path(), 'utf8')).toBe('original');
    expect(readdirSync(folder)).toEqual(['policy-rc.d']);
  });
});

describe('the npm packages', () => {
  const locked = {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/mac': { version: '2.0.0', optional: true },
  };

  it('are installed when each has its locked version, optional ones for other platforms aside', () => {
    expect(isInstalled(locked, { 'node_modules/a': { version: '1.0.0' } })).toBe(true);
    expect(isInstalled(locked, { 'node_modules/a': { version: '1.0.1' } })).toBe(false);
    expect(
      isInstalled(locked, { 'node_modules/a': { version: '1.0.0' }, 'node_modules/mac': { version: '1.9.0' } }),
    ).toBe(false);
    expect(isInstalled(locked, {})).toBe(false);
  });

  it('are installed by the npm that runs us', () => {
    expect(npmCommand({ npm_execpath: '/opt/npm/bin/npm-cli.js' })).toEqual([
      process.execPath,
      '/opt/npm/bin/npm-cli.js',
    ]);
    expect(npmCommand({ npm_execpath: '/opt/yarn.js' })).toEqual(['npm']);
    expect(npmCommand({})).toEqual(['npm']);
  });
});

describe('the build', () => {
  it('is stale when a source changes, moves, comes or goes, and not when only its time does', () => {
    mkdirSync(join(folder, 'src/deep'), { recursive: true });
    writeFileSync(join(folder, 'src/a.ts'), 'a');
    writeFileSync(join(folder, 'src/deep/b.ts'), 'b');
    const now = () => fingerprint(folder, ['src', 'absent.json']);
    const seen = [now()];
    writeFileSync(join(folder, 'src/a.ts'), 'a');
    expect(now()).toBe(seen[0]);
    writeFileSync(join(folder, 'src/a.ts'), 'A');
    seen.push(now());
    rmSync(join(folder, 'src/deep/b.ts'));
    seen.push(now());
    writeFileSync(join(folder, 'src/b.ts'), 'b');
    seen.push(now());
    expect(new Set(seen).size).toBe(4);
  });

  it('loses what was compiled from a source that is gone', () => {
    for (const path of ['dist/deep', 'src/deep']) mkdirSync(join(folder, path), { recursive: true });
    for (const path of ['a.js', 'a.js.map', 'deep/b.js', 'deep/b.js.map'])
      writeFileSync(join(folder, 'dist', path), '');
    writeFileSync(join(folder, 'src/a.ts'), '');
    removeOrphans(join(folder, 'dist'), join(folder, 'src'));
    expect(readdirSync(join(folder, 'dist')).toSorted()).toEqual(['a.js', 'a.js.map', 'deep']);
    expect(readdirSync(join(folder, 'dist/deep'))).toEqual([]);
  });
});

describe('the closing line of the tests', () => {
  const report = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, testResults: [] };

  it('counts what passed, failed and was skipped', () => {
    expect(summarise(report, 0)).toEqual({ line: '3 passed, 0 failed', exitCode: 0 });
    expect(summarise({ ...report, numPendingTests: 1, numTodoTests: 1 }, 0)).toEqual({
      line: '3 passed, 0 failed, 2 skipped',
      exitCode: 0,
    });
    expect(summarise({ ...report, numFailedTests: 2 }, 1)).toEqual({ line: '3 passed, 2 failed', exitCode: 1 });
  });

  it('counts a file that cannot be loaded, an error outside the tests, and a run without a report, as failures', () => {
    const unloaded = { ...report, testResults: [{ status: 'failed', assertionResults: [] }] };
    expect(summarise(unloaded, 1)).toEqual({ line: '3 passed, 1 failed', exitCode: 1 });
    const unprepared = { status: 'failed', assertionResults: [{ status: 'skipped' }, { status: 'skipped' }] };
    const withFailedTest = { status: 'failed', assertionResults: [{ status: 'passed' }, { status: 'failed' }] };
    expect(
      summarise({ ...report, numFailedTests: 1, numPendingTests: 2, testResults: [unprepared, withFailedTest] }, 1),
    ).toEqual({ line: '3 passed, 2 failed, 2 skipped', exitCode: 1 });
    expect(summarise(report, 1)).toEqual({ line: '3 passed, 1 failed', exitCode: 1 });
    expect(summarise(undefined, 7)).toEqual({ line: '0 passed, 1 failed', exitCode: 7 });
  });

  it('is a failure when nothing ran', () => {
    expect(summarise({ ...report, numPassedTests: 0 }, 0)).toEqual({ line: '0 passed, 0 failed', exitCode: 1 });
  });
});
