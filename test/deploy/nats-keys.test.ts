/** What deploy/nats/keys.mjs makes, and what it refuses. That brokers take it is shown with real ones. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { X509Certificate } from 'node:crypto';
import { nkeys } from 'nats';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../deploy/nats/keys.mjs', import.meta.url));
const folders: string[] = [];
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warder-test-keys-'));
  folders.push(folder);
});
afterAll(() => folders.forEach((one) => rmSync(one, { recursive: true })));

function keys(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { cwd: folder, encoding: 'utf8' });
  return { status, stdout, stderr };
}

const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
const isSecret = (name: string): boolean => statSync(join(folder, name)).mode.toString(8).endsWith('600');

describe('keys.mjs', () => {
  it('makes an nkey: the seed into a file of its owner alone, its public key for the broker', () => {
    const { stdout } = keys('nkey', 'worker');
    const pair = nkeys.fromSeed(new TextEncoder().encode(read('worker.nk').trim()));
    expect(stdout).toBe(`nkey: "${pair.getPublicKey()}"\n`);
    expect(isSecret('worker.nk')).toBe(true);
  });

  it('makes a password and prints no more than its hash', () => {
    const { stdout } = keys('password', 'prosody-1');
    expect(stdout).toMatch(/^user: "prosody-1", password: "\$2a\$11\$[./A-Za-z0-9]{53}"\n$/);
    expect(read('prosody-1.password')).toMatch(/^[\w-]{32}\n$/);
    expect(isSecret('prosody-1.password')).toBe(true);
  });

  it('makes certificates for names and addresses, signed by the authority', () => {
    expect(keys('authority')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(keys('certificate', 'server', 'nats.example.org', '10.0.0.5', '::1').status).toBe(0);
    expect(keys('certificate', 'prosody-1').status).toBe(0);
    const [authority, server, hook] = ['ca.pem', 'server.pem', 'prosody-1.pem'].map(
      (name) => new X509Certificate(read(name)),
    );
    expect(server?.subjectAltName).toBe('DNS:nats.example.org, IP Address:10.0.0.5, IP Address:0:0:0:0:0:0:0:1');
    expect(hook?.subjectAltName).toBe('DNS:prosody-1');
    for (const one of [server, hook]) {
      expect(authority !== undefined && one?.verify(authority.publicKey)).toBe(true);
      expect(one?.ca).toBe(false);
    }
    expect(['ca.key', 'server.key', 'prosody-1.key'].filter((name) => !isSecret(name))).toEqual([]);
    expect(readdirSync(folder).filter((name) => /\.(csr|ext)$/.test(name))).toEqual([]);
  });

  it.each([
    [['authority'], 'ca.pem'],
    [['nkey', 'x'], 'x.nk'],
    [['password', 'x'], 'x.password'],
  ])('overwrites nothing: %j', (args, file) => {
    keys(...args);
    const before = read(file);
    expect(keys(...args)).toEqual({ status: 2, stdout: '', stderr: `${file} is there already: move it away first\n` });
    expect(read(file)).toBe(before);
  });

  it('says what is missing', () => {
    expect(keys('certificate', 'server')).toMatchObject({
      status: 2,
      stderr: 'ca.key is not in this folder: make it first, keys.mjs authority\n',
    });
  });

  it.each([[[]], [['nkey']], [['nkey', '../worker']], [['pasword', 'x']]])('shows its usage after %j', (args) => {
    expect(keys(...args)).toMatchObject({ status: 2, stderr: expect.stringMatching(/^usage/) as unknown });
    expect(readdirSync(folder)).toEqual([]);
  });
});
