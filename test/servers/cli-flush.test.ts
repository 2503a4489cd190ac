/** `warder flush` against real workers: what it says, what it waits for, and what it refuses. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtMain, root } from './built.ts';
import { run } from './cli.ts';
import type { Ran } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

let broker: NatsServer;
let workers: WorkerProcess[] = [];
let main: string;

beforeAll(async () => {
  main = await builtMain();
  broker = await startNatsServer({ jetstream: true });
  workers = await Promise.all([1, 2].map(() => startWorkerProcess(broker.url, 'freshness: { bound_ms: 1000 }')));
});

afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await broker.stop();
});

function flush(args: readonly string[], url = broker.url): Promise<Ran> {
  return run(process.execPath, [main, 'flush', ...args], { cwd: root, env: { WARDER_NATS_URL: url } });
}

describe('warder flush', () => {
  it.each([
    [['user', 'Alice@Localhost'], 'user alice@localhost'],
    [['room', 'lobby@rooms.localhost'], 'room lobby@rooms.localhost'],
    [['domain', 'localhost'], 'domain localhost'],
    [['operation', 'join-check'], 'operation join-check'],
    [['all'], 'all'],
  ])('of %j says which change it became', async (args, what) => {
    const { code, stdout } = await flush(args);
    expect(stdout).toMatch(new RegExp(`^flushed ${what}: change \\d{13,}\n$`));
    expect(code).toBe(0);
  });

  it('waits until every worker has seen it, and says who they are', async () => {
    const { code, stdout } = await flush(['user', 'alice@localhost', '--wait', '--json']);
    const { token, reported, silent } = JSON.parse(stdout) as {
      token: number;
      reported: { kind: string; seen: number }[];
      silent: unknown[];
    };
    expect(code).toBe(0);
    expect(silent).toEqual([]);
    expect(reported.map(({ kind }) => kind)).toEqual(['worker', 'worker']);
    for (const { seen } of reported) expect(seen).toBeGreaterThanOrEqual(token);
  });

  it('lists who was silent when the bound has passed', async () => {
    const [one, other] = workers;
    // The one that answers who is there must not be the one that stands still, so it is asked until it is the other.
    await one?.pause();
    try {
      let ran: Ran;
      do ran = await flush(['all', '--wait']);
      while (ran.code !== 0);
      expect(ran.stdout).toContain(
        '1 of 2 workers and hooks have reported it; the staleness bound of 1000 ms has passed',
      );
      expect(ran.stdout).toMatch(new RegExp(`silent: worker \\S+/${one?.pid} `));
    } finally {
      one?.signal('SIGCONT');
    }
    expect(other?.output()).not.toContain('"level":50');
  });

  it.each([
    [['user'], 'Which user?'],
    [['user', 'alice@localhost/phone'], 'write it as alice@localhost'],
    [['user', 'localhost'], 'write user@domain'],
    [['domain', 'alice@localhost'], 'write it as localhost'],
    [['operation', 'join'], 'there are stanza-check, join-check'],
    [['all', 'of', 'it'], 'too many arguments'],
    [['everything'], 'Allowed choices are user, room, domain, operation, all'],
  ])('%j is refused with what would be right', async (args, right) => {
    const { code, stderr, stdout } = await flush(args);
    expect(stderr).toContain(right);
    expect([code, stdout]).toEqual([2, '']);
  });

  it('without JetStream is best effort, and says so; who wants to wait is told that it cannot be had', async () => {
    const plain = await startNatsServer();
    try {
      const heard = await flush(['all'], plain.url);
      expect([heard.code, heard.stdout]).toEqual([0, expect.stringContaining('as best effort')]);
      expect((await flush(['all', '--wait'], plain.url)).code).toBe(1);
    } finally {
      await plain.stop();
    }
  });

  it('without a broker says that there is none', async () => {
    const { code, stdout } = await flush(['all'], 'nats://127.0.0.1:1');
    expect([code, stdout]).toEqual([1, expect.stringContaining('no NATS server at nats://127.0.0.1:1')]);
  });
});
