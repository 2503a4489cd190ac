/** `warder top`, `tail` and `doctor` on the broker of deploy/nats: what the administrator sees, and who else sees nothing. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtMain, root } from './built.ts';
import { run } from './cli.ts';
import { startProcess } from './process.ts';
import { startSecuredBroker, subject, watchRefusals } from './secured-broker.ts';
import type { SecuredBroker } from './secured-broker.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

let main: string;
let broker: SecuredBroker;
let worker: WorkerProcess;
const files: Record<string, string> = {};

beforeAll(async () => {
  main = await builtMain();
  broker = await startSecuredBroker();
  for (const name of ['admin', 'worker']) {
    files[name] = broker.site.file(`${name}.yaml`);
    writeFileSync(files[name], JSON.stringify({ nats: broker.settings(name) })); // JSON is YAML
  }
  const operations = { 'join-check': { sources: 'deny' } };
  worker = await startWorkerProcess(broker.url, JSON.stringify({ nats: broker.settings('worker'), operations }));
});

afterAll(async () => {
  await worker.stop();
  await broker.stop();
});

const args = (name: string, ...given: readonly string[]) => [main, ...given, '--config', files[name] ?? ''];
const env = () => ({ WARDER_NATS_URL: broker.url });
const warder = (name: string, ...given: readonly string[]) =>
  run(process.execPath, args(name, ...given), { cwd: root, env: env() });

describe('the administrator', () => {
  it('watches decisions', async () => {
    const child = await startProcess({
      command: process.execPath,
      args: args('admin', 'tail', '--count', '1'),
      cwd: root,
      env: env(),
      ready: /1 worker tells/,
    });
    const hook = await broker.connect('prosody-1');
    const envelope = { v: 1, id: randomBytes(12).toString('hex'), server: 'test', budget_ms: 10_000 };
    const join = { user: 'alice@localhost/phone', room: 'lobby@rooms.localhost', nick: 'x' };
    await hook.request(subject('join-check'), JSON.stringify({ ...envelope, ...join }), { timeout: 10_000 });
    await hook.close();
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.output()).toMatch(/ join {4}deny {3}alice@localhost → lobby@rooms\.localhost/);
  });

  it('sees what workers do', async () => {
    const { code, stdout } = await warder('admin', 'top', '--once', '--interval', '300ms');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^warder top {2}1 worker, /)]);
  });

  it('finds nothing wrong', async () => {
    const { code, stdout } = await warder('admin', 'doctor');
    expect(stdout).not.toMatch(/^FAIL/m);
    expect(code).toBe(0);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('what an administrator needs is permitted, and inboxes are apart');
    expect(stdout).toMatch(/^OK +encryption +the connection is encrypted$/m);
    expect(stdout).toMatch(/^OK +questions +8 of 8 are answered/m);
  });
});

describe('a worker’s credentials', () => {
  it('let doctor hear who is there, and look at the stream', async () => {
    const { code, stdout } = await warder('worker', 'doctor');
    expect(stdout).not.toMatch(/^FAIL/m);
    expect(code).toBe(0);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('what a worker needs is permitted, and inboxes are apart');
    expect(stdout).toMatch(/^OK +workers +heard: 1;/m);
    expect(stdout).toMatch(/^OK +changes +one was numbered in .*, and heard$/m);
  });

  it.each([[['top', '--once']], [['tail']]])('are not for %j, which says so', async (command) => {
    const { code, stdout } = await warder('worker', ...command);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^no answer: the NATS server at \S+ refuses this/)]);
  });
});

describe('a hook', () => {
  it('neither asks to be told decisions nor hears any', async () => {
    const hook = await broker.connect('prosody-1');
    const refusals = watchRefusals(hook);
    hook.publish(subject('ctl.watch'), JSON.stringify({ v: 1, id: 'hook' }));
    hook.subscribe(subject('ctl.decisions'), { callback: () => undefined });
    expect(await refusals.until()).toEqual([subject('ctl.watch'), subject('ctl.decisions')]);
    await hook.close();
  });
});
