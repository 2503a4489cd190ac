/** `warder dev` as `npm start` runs it, and the lines that it prints pasted into a shell. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { builtMain, root } from './built.ts';
import { run } from './cli.ts';
import { freePorts } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';

let main: string;
beforeAll(async () => {
  main = await builtMain();
});

const releases: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).toReversed()) await release();
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-dev-'));
  releases.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder that is to `npx` what a checkout is, without its `.warder`, which a person may be using. */
function newCheckout(): string {
  const folder = newFolder();
  for (const name of ['dist', 'package.json']) cpSync(join(root, name), join(folder, name), { recursive: true });
  for (const name of ['node_modules', 'deploy']) symlinkSync(join(root, name), join(folder, name));
  return folder;
}

interface Dev {
  readonly process: RunningProcess;
  readonly folder: string;
  readonly port: number;
  readonly httpPort: number;
}

interface DevOptions {
  folder?: string;
  env?: NodeJS.ProcessEnv;
  /** The program, from the folder; absent: that of this checkout. */
  main?: string;
}

async function startDev({ folder = newFolder(), env = {}, main: program = main }: DevOptions = {}): Promise<Dev> {
  const [port = 0, httpPort = 0] = await freePorts(2);
  const child = await startProcess({
    command: process.execPath,
    args: [program, 'dev', '--port', String(port)],
    cwd: folder,
    env: { WARDER_HTTP_LISTEN: `127.0.0.1:${httpPort}`, WARDER_NATS_URL: undefined, ...env },
    ready: /as it is made:\n/,
  });
  releases.push(() => child.stop());
  return { process: child, folder, port, httpPort };
}

function warder(folder: string, ...args: string[]) {
  return run(process.execPath, [main, ...args], { cwd: folder });
}

const ask = ['check', 'stanza', '--from', 'alice@localhost', '--to', 'bob@localhost'];

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

describe('warder dev', () => {
  it('prints lines that work pasted as they stand, within 80 columns, and every decision', async () => {
    const dev = await startDev({ folder: newCheckout(), main: 'dist/main.js' });
    const printed = dev.process.output();
    expect(printed).toContain('npx warder check stanza');
    expect(printed.split('\n').filter((line) => line.length > 80)).toEqual([]);
    const pasted = printed.slice(printed.indexOf('in another terminal:')).match(/^ {2}\S.*$/gm) ?? [];
    expect(pasted).toHaveLength(7);
    const change = `${pasted[0] ?? ''}\n`;
    const results = [];
    for (const line of pasted.slice(1)) {
      const { code, stdout } = await run('sh', [], { cwd: '/', input: change + line });
      results.push(`${code}: ${stdout.split('\n')[0]?.split(' ')[0]}`);
    }
    expect(results).toEqual([
      '0: allowed:',
      '3: denied:',
      '3: denied:',
      '0: allowed:',
      '0: alice@localhost',
      expect.stringMatching(/^0: warder_decisions_total/),
    ]);
    const decisions = dev.process.output().split('as it is made:\n')[1] ?? '';
    expect(decisions).toMatch(/^\d\d:\d\d:\d\d stanza {2}allow {2}alice@localhost → bob@localhost \(policy, .*s\)/m);
    expect(decisions).toMatch(/^\d\d:\d\d:\d\d stanza {2}deny {3}mallory@localhost → bob@localhost/m);
    expect(decisions).toMatch(/^\d\d:\d\d:\d\d join {4}deny {3}bob@localhost → staff@rooms.localhost/m);
    expect(decisions).toMatch(/^\d\d:\d\d:\d\d session allow {2}alice@localhost/m);
    expect(decisions).toMatch(/^\d\d:\d\d:\d\d roster {2}ok {5}alice@localhost/m);
    expect(decisions).not.toContain('\u001b');
  });

  it('answers by the policy file as it is now, and keeps the last good one', async () => {
    const dev = await startDev();
    const policy = join(dev.folder, '.warder/policy.yaml');
    const before = readFileSync(policy, 'utf8');
    expect((await warder(dev.folder, ...ask)).code).toBe(0);
    writeFileSync(policy, before.replace('default: allow', 'default: deny'));
    await dev.process.waitForOutput(/policy loaded/);
    expect((await warder(dev.folder, ...ask)).code).toBe(3);
    writeFileSync(policy, `${before}\nstanza: {}\n`);
    await dev.process.waitForOutput(
      /policy\.yaml:\d+: stanza: is unknown here; did you mean stanzas\?.*stays in force/,
    );
    expect((await warder(dev.folder, ...ask)).code).toBe(3);
    writeFileSync(policy, before);
    await dev.process.waitForOutput(/policy loaded[^]*policy loaded/);
    expect((await warder(dev.folder, ...ask)).code).toBe(0);
  });

  it('does not overwrite what was edited before', async () => {
    const folder = newFolder();
    const first = await startDev({ folder });
    const policy = join(folder, '.warder/policy.yaml');
    await first.process.stop();
    writeFileSync(policy, 'stanzas: { default: deny }\n');
    await startDev({ folder });
    expect((await warder(folder, ...ask)).code).toBe(3);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'stops all that it started on %s, and exits with 0',
    async (signal) => {
      const dev = await startDev();
      expect(await isListening(dev.port)).toBe(true);
      dev.process.signal(signal);
      // What npm does: it passes on what the terminal has sent to everyone.
      dev.process.signal(signal);
      expect(await dev.process.exited).toEqual({ code: 0, signal: null });
      expect(await isListening(dev.port)).toBe(false);
      expect(existsSync(join(dev.folder, '.warder/dev.json'))).toBe(false);
    },
  );

  it('leaves no nats-server behind when it is killed, and is not taken for running', async () => {
    const dev = await startDev();
    dev.process.signal('SIGKILL');
    await dev.process.exited;
    await expect.poll(() => isListening(dev.port), { interval: 10, timeout: 20_000 }).toBe(false);
    expect(existsSync(join(dev.folder, '.warder/dev.json'))).toBe(true);
    const asked = await warder(dev.folder, ...ask, '--json');
    expect(JSON.parse(asked.stdout)).toMatchObject({ nats: ['nats://127.0.0.1:4222'] });
    await startDev({ folder: dev.folder });
    expect((await warder(dev.folder, ...ask)).code).toBe(0);
  });

  it('names who holds its ports, and says how to choose another', async () => {
    const dev = await startDev();
    const { port, httpPort, folder } = dev;
    const { pid } = dev.process;
    const again = (cwd: string, broker: number, http: number) =>
      run(process.execPath, [main, 'dev', '--port', String(broker)], {
        cwd,
        env: { WARDER_HTTP_LISTEN: `127.0.0.1:${http}` },
      });
    const [freeBroker = 0, freeHttp = 0] = await freePorts(2);
    const sameFolder = await again(folder, freeBroker, freeHttp);
    expect(sameFolder.code).toBe(1);
    expect(sameFolder.stderr).toBe(
      `error: another warder dev runs in this folder, process ${pid}; to stop it: kill ${pid}\n`,
    );
    const samePort = await again(newFolder(), port, freeHttp);
    expect(samePort.code).toBe(1);
    expect(samePort.stderr).toContain(`port ${port} is held by the nats-server of another warder dev, process ${pid}`);
    expect(samePort.stderr).toContain(`npm start -- --port ${port + 1}`);
    const sameHttp = await again(newFolder(), freeBroker, httpPort);
    expect(sameHttp.code).toBe(1);
    expect(sameHttp.stderr).toContain(`port ${httpPort} is held by another warder dev, process ${pid}`);
    expect(sameHttp.stderr).toContain(`WARDER_HTTP_LISTEN=127.0.0.1:${httpPort + 1}`);
    expect(await isListening(freeBroker)).toBe(false);
  });

  it('says which process of another kind holds a port', async () => {
    const nats = await startNatsServer();
    releases.push(() => nats.stop());
    const other = await run(process.execPath, [main, 'dev', '--port', String(nats.port)], { cwd: newFolder() });
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(new RegExp(`port ${nats.port} is held by process ${nats.pid}: .*nats-server`));
  });

  it('starts no broker where one is configured', async () => {
    const nats = await startNatsServer({ jetstream: true });
    releases.push(() => nats.stop());
    const dev = await startDev({ env: { WARDER_NATS_URL: nats.url } });
    expect(await isListening(dev.port)).toBe(false);
    expect(dev.process.output()).toContain(`${nats.url}   from WARDER_NATS_URL`);
    expect((await warder(dev.folder, ...ask)).code).toBe(0);
    await dev.process.stop();
    expect(await isListening(nats.port)).toBe(true);
  });

  it('says at once that the configured broker is not there', async () => {
    const [gone = 0] = await freePorts(1);
    const url = `nats://127.0.0.1:${gone}`;
    const { code, stderr } = await run(process.execPath, [main, 'dev'], {
      cwd: newFolder(),
      env: { WARDER_NATS_URL: url, WARDER_HTTP_LISTEN: '127.0.0.1:0' },
    });
    expect(code).toBe(1);
    expect(stderr).toContain(`no NATS server at ${url} (connection refused)`);
  });

  it('stops the broker when the worker cannot start', async () => {
    const folder = newFolder();
    const dev = await startDev({ folder });
    await dev.process.stop();
    writeFileSync(join(folder, '.warder/policy.yaml'), 'stanzas: [\n');
    const [port = 0] = await freePorts(1);
    const { code, stderr } = await run(process.execPath, [main, 'dev', '--port', String(port)], {
      cwd: folder,
      env: { WARDER_HTTP_LISTEN: '127.0.0.1:0' },
    });
    expect(code).toBe(2);
    expect(stderr).toContain('policy.yaml:');
    expect(await isListening(port)).toBe(false);
  });

  it('ends when its broker ends', async () => {
    const dev = await startDev();
    const state = readFileSync(join(dev.folder, '.warder/nats-server.log'), 'utf8');
    const broker = Number(/^\[(\d+)\]/m.exec(state)?.[1]);
    process.kill(broker, 'SIGKILL');
    expect(await dev.process.exited).toEqual({ code: 1, signal: null });
    expect(dev.process.output()).toContain('the NATS server has ended; it said:');
  });
});
