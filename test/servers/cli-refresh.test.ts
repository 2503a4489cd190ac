/** `warder refresh` as a person or a script calls it: against real workers, and against what no worker ever answers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import type { Ran } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startRefreshScene } from './refresh-scene.ts';
import type { RefreshScene } from './refresh-scene.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';

let main: string;
let folder: string;
let scene: RefreshScene;
let strange: NatsServer;
let responder: Responder;

beforeAll(async () => {
  main = await builtMain();
  folder = mkdtempSync(join(tmpdir(), 'warder-test-refresh-'));
  scene = await startRefreshScene({ workers: 2 });
  strange = await startNatsServer();
  responder = await startResponder(strange.url);
});

afterAll(async () => {
  await scene.stop();
  await responder.stop();
  await strange.stop();
  rmSync(folder, { recursive: true });
});

afterEach(() => {
  scene.application.failsWith = 0;
  scene.application.forget();
  responder.reset();
});

function refresh(args: readonly string[], { url = scene.broker.url, input = '' } = {}): Promise<Ran> {
  return run(process.execPath, [main, 'refresh', ...args], { cwd: folder, env: { WARDER_NATS_URL: url }, input });
}

/** Without what differs each time. */
function steady(text: string): string {
  return text.replaceAll(/in \S+ m?s\n/g, 'in N ms\n').replaceAll(/, \S+ a second/g, ', N a second');
}

describe('warder refresh', () => {
  it('of users has each fetched once, from the application', async () => {
    const { code, stdout, stderr } = await refresh([
      'alice@localhost',
      'ALICE@localhost',
      'bob',
      '--host',
      'localhost',
    ]);
    expect(steady(stdout)).toBe('refreshed 2 of 2 users, in N ms\n');
    expect([code, stderr]).toEqual([0, '']);
    expect([...scene.application.asked].toSorted()).toEqual([
      ['alice@localhost', 1],
      ['bob@localhost', 1],
    ]);
  });

  it('of a file of thousands says how far it is, and names who was none', async () => {
    const users = Array.from({ length: 2_500 }, (_, index) => `user${index}@localhost`);
    writeFileSync(join(folder, 'users'), `# everybody\n\n${users.join('\r\n')}\n  user0@localhost \n@nobody\n`);
    const { code, stdout, stderr } = await refresh(['--from', 'users', '--progress']);
    expect(steady(stdout)).toMatch(
      /^refreshed 2,500 of 2,501 users, in N ms\nfailed @nobody: .*"@nobody" has an empty node.*\n$/,
    );
    expect(code).toBe(1);
    expect(steady(stderr)).toMatch(/^(\S+ of 2,500 users, N a second\n)*2,500 of 2,500 users, N a second\n$/);
    expect(scene.application.requests).toBe(2_500);
    expect(scene.application.highestConcurrency).toBeLessThanOrEqual(32);
  });

  it('of standard input, completed by the host of the configuration', async () => {
    writeFileSync(join(folder, 'warder.yaml'), 'roster: { default_host: localhost }\n');
    const { code, stdout } = await refresh(['--from', '-', '--config', 'warder.yaml', '--json'], { input: 'a\nb' });
    expect(JSON.parse(stdout)).toMatchObject({ users: 2, updated: 2, errors: 0, failed: {} });
    expect([code, [...scene.application.asked.keys()].toSorted()]).toEqual([0, ['a@localhost', 'b@localhost']]);
  });

  it('of an empty list is right', async () => {
    const { code, stdout } = await refresh(['--from', '-']);
    expect([code, steady(stdout)]).toEqual([0, 'refreshed 0 of 0 users, in N ms\n']);
  });

  it('shows the first who failed, and with --json all', async () => {
    scene.application.failsWith = 500;
    const input = Array.from({ length: 15 }, (_, index) => `user${index}@localhost`).join('\n');
    const { code, stdout } = await refresh(['--from', '-'], { input });
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^refreshed 0 of 15 users, in .*\n(failed user.*: its source did not answer; .*\n){10}and 5 more; --json has them all\n$/,
    );
    const asJson = await refresh(['--from', '-', '--json'], { input });
    const { updated, errors, failed } = JSON.parse(asJson.stdout) as {
      updated: number;
      errors: number;
      failed: object;
    };
    expect([asJson.code, updated, errors, Object.keys(failed).length]).toEqual([1, 0, 15, 15]);
  });

  it('goes on when one request of several fails, and counts its users', async () => {
    responder.on('roster-refresh', ({ users }) =>
      (users as string[]).includes('user150@localhost')
        ? { failure: 'overloaded', text: 'Full.' }
        : { status: 'ok', message: '', updated: (users as string[]).length, errors: 0, rosters: {}, failed: {} },
    );
    const input = Array.from({ length: 1_000 }, (_, index) => `user${index}@localhost`).join('\n');
    const { code, stdout } = await refresh(['--from', '-', '--json'], { input, url: strange.url });
    const { updated, failed } = JSON.parse(stdout) as { updated: number; failed: Record<string, string> };
    expect([code, updated, Object.keys(failed).length]).toEqual([1, 900, 100]);
    expect(failed['user150@localhost']).toBe('overloaded');
    expect(responder.asked.map(({ users, reason }) => [(users as string[]).length, reason])).toEqual(
      Array.from({ length: 10 }, () => [100, 'admin']),
    );
  });

  it('stops asking when what answers is no worker, and says so', async () => {
    responder.on('roster-refresh', () => ({ hello: 'world' }));
    const input = Array.from({ length: 5_000 }, (_, index) => `user${index}@localhost`).join('\n');
    const { code, stdout } = await refresh(['--from', '-'], { input, url: strange.url });
    expect([code, stdout]).toEqual([1, expect.stringContaining('what came back is no reply of the protocol')]);
    expect(responder.asked.length).toBeLessThan(10);
  });

  it('without workers, or without a broker, says what that means', async () => {
    const lonely = await startNatsServer();
    const workerless = await refresh(['alice@localhost'], { url: lonely.url });
    await lonely.stop();
    expect([workerless.code, workerless.stdout]).toEqual([1, expect.stringContaining('no worker is running')]);
    const brokerless = await refresh(['alice@localhost', '--json'], { url: 'nats://127.0.0.1:1' });
    expect([brokerless.code, JSON.parse(brokerless.stdout)]).toMatchObject([1, { users: 1, trouble: 'unreachable' }]);
  });

  it.each([
    [[], 'Whose rosters? Give users, or a file of them: --from FILE.'],
    [['alice'], '"alice" names no host; write user@domain, or give --host'],
    [['alice@localhost/phone'], 'has a resource'],
    [['a/b', '--host', 'localhost'], '"a/b" is no user; write user@domain'],
    [['alice', '--host', 'a@b'], 'must be a host of the XMPP servers'],
    [['--from', 'gone'], 'gone: ENOENT'],
    [['--from', '.'], '.: EISDIR'],
  ])('%j is refused with what would be right, and refreshes nobody', async (args, right) => {
    const { code, stdout, stderr } = await refresh(args);
    expect(stderr).toContain(right);
    expect([code, stdout, scene.application.requests]).toEqual([2, '', 0]);
  });
});
