/** The units for systemd, as far as they can be tried where it is not process 1: by systemd's own reading of them. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';

const units = fileURLToPath(new URL('../../deploy/systemd', import.meta.url));
const instance = 'warder@9464.service';
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'warder-test-systemd-'));
  copyFileSync(join(units, 'warder@.service'), join(folder, instance));
  copyFileSync(join(units, 'warder.target'), join(folder, 'warder.target'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function analyze(...args: string[]): { readonly output: string; readonly status: number | null } {
  const { stdout, stderr, status } = spawnSync('systemd-analyze', [...args, '--no-pager'], { encoding: 'utf8' });
  return { output: `${stdout}${stderr}`, status };
}

describe('the units for systemd', () => {
  it.each([instance, 'warder.target'])('%s is one that systemd has nothing to say about', (unit) => {
    // It complains of programs that are not there, but goes on: nothing is installed at /opt/warder here.
    expect(analyze('verify', '--man=no', join(folder, unit))).toEqual({ output: '', status: 0 });
  });

  it('would hear of it if there were a mistake', () => {
    const broken = join(folder, 'broken@1.service');
    writeFileSync(
      broken,
      readFileSync(join(folder, instance), 'utf8').replace('NoNewPrivileges=yes', 'NoPrivileges=yes'),
    );
    expect(analyze('verify', '--man=no', broken).output).toContain('NoPrivileges');
  });

  it('lets a worker reach as little as systemd knows how: an exposure below 2 of 10', () => {
    expect(analyze('security', '--offline=true', '--threshold=20', join(folder, instance)).status).toBe(0);
    expect(analyze('security', '--offline=true', '--threshold=5', join(folder, instance)).status).not.toBe(0);
  });

  it('gives a worker variables that Warder knows, and a key from a file that systemd hands over', () => {
    const text = readFileSync(join(units, 'warder@.service'), 'utf8').replaceAll('%i', '9464');
    const env = Object.fromEntries(
      [...text.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
    );
    expect(env).toMatchObject({ WARDER_HTTP_LISTEN: '127.0.0.1:9464' });
    const file = join(folder, 'warder.yaml');
    const key = join(folder, 'worker.nk');
    writeFileSync(key, 'SUAAAA');
    writeFileSync(file, 'nats: { nkey_file: { env: NKEY_FILE } }\n');
    expect(loadConfig(file, { ...env, NKEY_FILE: key })).toMatchObject({
      http: { listen: '127.0.0.1:9464' },
      nats: { nkey_file: key },
    });
  });

  it('gives a worker more time to end than it takes by default', () => {
    const text = readFileSync(join(units, 'warder@.service'), 'utf8');
    const [, seconds] = /^TimeoutStopSec=(\d+)s$/m.exec(text) ?? [];
    const file = join(folder, 'empty.yaml');
    writeFileSync(file, '{}\n');
    expect(Number(seconds) * 1_000).toBeGreaterThan(loadConfig(file, {}).limits.drain_timeout_ms);
  });
});
