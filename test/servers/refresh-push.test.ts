/** Refreshes that an application pushes, and those over NATS: an answer always, and nobody is asked too much. */
import { afterEach, describe, expect, it } from 'vitest';
import { startRefreshScene } from './refresh-scene.ts';
import type { RefreshScene, SceneOptions } from './refresh-scene.ts';
import { startWorkerProcess } from './worker.ts';

let scene: RefreshScene;

afterEach(() => scene.stop());

async function start(options?: SceneOptions): Promise<RefreshScene> {
  scene = await startRefreshScene(options);
  return scene;
}

function usersOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `user${index}@localhost`);
}

describe('a refresh that is pushed', () => {
  it('takes user names and JIDs, each user once, and counts what is no user', async () => {
    const { application, push } = await start();
    const answer = await push(['alice', 'ALICE@localhost', 'bob@localhost', '', '@', 'carol@localhost/phone', 'a/b']);
    expect(answer).toMatchObject({ status: 'ok', message: 'roster update complete', updated: 2, errors: 4 });
    expect(Object.keys(answer.failed ?? {}).toSorted()).toEqual(['', '@', 'a/b', 'carol@localhost/phone']);
    expect([...application.asked]).toEqual([
      ['alice@localhost', 1],
      ['bob@localhost', 1],
    ]);
  });

  it('of nobody is ok', async () => {
    const { push } = await start();
    expect(await push([])).toEqual({ status: 'ok', message: 'roster update complete', updated: 0, errors: 0 });
  });

  it('of a user name says that a host is missing where none is configured', async () => {
    const { broker } = await start();
    const hostless = await startWorkerProcess(broker.url, '');
    const response = await fetch(`${hostless.url}/roster_admin/refresh`, { method: 'POST', body: '["alice"]' });
    const answer = (await response.json()) as { status: string; failed: Record<string, string> };
    await hostless.stop();
    expect([response.status, answer.status]).toEqual([200, 'error']);
    expect(answer.failed['alice']).toContain('roster.default_host');
  });

  it('of 10,000 users leaves the application room for who logs in meanwhile', async () => {
    const { application, push, ask } = await start({ source: 'timeout_ms: 30000,' });
    application.hold((user) => user !== 'login@localhost');
    const users = usersOf(10_000);
    const pushing = push(users);
    await application.until(() => application.requests === 16);
    // Half of what the source takes at once is taken, and will not be given back before the login is through.
    expect(await ask(['login@localhost'], 'login')).toMatchObject({ status: 'ok', updated: 1 });
    application.letGo();
    expect(await pushing).toEqual({ status: 'ok', message: 'roster update complete', updated: 10_000, errors: 0 });
    expect(application.highestConcurrency).toBeLessThanOrEqual(17);
    expect(application.requests).toBe(10_001);
  });

  it('waits for its turn at an application that takes one question at a time, and for other refreshes', async () => {
    const { application, push, ask } = await start({ source: 'max_concurrent: 1, max_queued: 0,' });
    const [one, other, hook] = await Promise.all([
      push(usersOf(100)),
      push(usersOf(100).map((user) => `other-${user}`)),
      ask(['changed@localhost'], 'changed'),
    ]);
    expect([one.updated, other.updated, hook.updated]).toEqual([100, 100, 1]);
    expect(application.highestConcurrency).toBe(1);
  });

  it('is not held up by a user for whom the application hangs', async () => {
    const { application, push } = await start();
    application.hold((user) => user === 'user7@localhost');
    expect(await push(usersOf(50))).toEqual({
      status: 'ok',
      message: 'roster update complete',
      updated: 49,
      errors: 1,
      failed: { 'user7@localhost': 'source-unavailable' },
    });
    application.letGo();
  });

  it('is an error when all have failed', async () => {
    const { application, push } = await start();
    application.failsWith = 500;
    const answer = await push(usersOf(30));
    expect(answer).toMatchObject({ status: 'error', message: 'no roster could be had', updated: 0, errors: 30 });
    expect(Object.keys(answer.failed ?? {})).toHaveLength(30);
  });

  it('is answered when the broker is gone, as a change that nobody has heard', async () => {
    const { broker, push, workers } = await start();
    await broker.kill();
    await workers[0]?.waitForOutput(/"disconnected from NATS"/);
    const answer = await push(usersOf(200));
    expect(answer).toMatchObject({ status: 'error', updated: 0, errors: 200 });
    expect(answer.failed?.['user0@localhost']).toBe('the change could not be published; say it again');
  });

  it('reaches the memory of every worker, also without JetStream', async () => {
    const { application, push, ask } = await start({ workers: 2, jetstream: false });
    const users = usersOf(20);
    for (let index = 0; index < 10; index += 1) await ask(users, 'login');
    application.forget();
    for (const user of users) application.put(user, 'new@localhost');
    expect(await push(users)).toMatchObject({ status: 'ok', updated: 20, errors: 0 });
    for (let index = 0; index < 10; index += 1) {
      const { rosters } = await ask(users, 'login');
      expect(users.filter((user) => rosters[user]?.items.length !== 1)).toEqual([]);
    }
  });
});

describe('a refresh over NATS', () => {
  it('has no rosters in its answer', async () => {
    const { ask } = await start();
    expect(await ask([...usersOf(3), 'localhost'], 'admin')).toMatchObject({
      status: 'ok',
      updated: 3,
      errors: 1,
      rosters: {},
      failed: { localhost: expect.stringContaining('write user@domain') },
    });
  });

  it('is answered within its budget, with who was not reached, and asks for nobody afterwards', async () => {
    const { application, ask } = await start({ source: 'timeout_ms: 20000,' });
    application.hold();
    const answer = await ask(usersOf(100), 'admin', 0, 3_000);
    expect(answer).toMatchObject({ status: 'error', updated: 0, errors: 100 });
    expect(new Set(Object.values(answer.failed ?? {}))).toEqual(new Set(['source-unavailable', 'expired']));
    expect(application.requests).toBe(16);
    application.letGo();
    expect(await ask(['late@localhost'], 'login')).toMatchObject({ updated: 1 });
    expect(application.requests).toBe(17);
  });

  it('of 10,000 users who cannot be had fits the reply, and counts them all', async () => {
    const { ask } = await start();
    const strangers = Array.from({ length: 10_000 }, (_, index) => `u${index}-${'x'.repeat(40)}@nowhere.example/`);
    const answer = await ask(strangers, 'admin');
    expect(answer).toMatchObject({ status: 'error', updated: 0, errors: 10_000 });
    expect(Object.keys(answer.failed ?? {}).length).toBeGreaterThan(1_000);
  });

  it('is counted by what became of each user', async () => {
    const { application, ask, push, workers } = await start();
    await push(['alice', '@']);
    await ask(['alice@localhost'], 'login');
    application.failsWith = 500;
    await ask(['alice@localhost'], 'changed');
    const metrics = await (await fetch(`${workers[0]?.url ?? ''}/metrics`)).text();
    for (const line of [
      'warder_rosters_refreshed_total{reason="admin",outcome="fetched"} 1',
      'warder_rosters_refreshed_total{reason="admin",outcome="no-user"} 1',
      'warder_rosters_refreshed_total{reason="login",outcome="remembered"} 1',
      'warder_rosters_refreshed_total{reason="changed",outcome="source-unavailable"} 1',
      'warder_rosters_refreshed_total{reason="changed",outcome="fetched"} 0',
    ]) {
      expect(metrics).toContain(line);
    }
  });
});
