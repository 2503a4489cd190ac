/** `warder top` against real workers: once, again and again, on a terminal, and when somebody goes. */
import { randomBytes } from 'node:crypto';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { statsReport } from '../../src/wire/service-stats.ts';
import { builtMain, root } from './built.ts';
import { run } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const prefix = 'xmpp.policy.v1';
let broker: NatsServer;
let workers: WorkerProcess[] = [];
let nats: NatsConnection;
let main: string;
let asking: NodeJS.Timeout;

beforeAll(async () => {
  main = await builtMain();
  broker = await startNatsServer({ jetstream: true });
  const config = `
operations: { join-check: { sources: deny }, session-check: { sources: down, fallback: allow } }
sources: { down: { type: http, url: "http://127.0.0.1:1/" } }`;
  workers = await Promise.all([1, 2].map(() => startWorkerProcess(broker.url, config)));
  nats = await connect({ servers: broker.url });
  asking = setInterval(() => {
    for (const operation of ['join-check', 'session-check']) void ask(operation).catch(() => undefined);
  }, 10);
  const hook = { v: 1, boot_id: randomBytes(8).toString('hex'), name: 'xmpp1.example.org' };
  nats.publish(`${prefix}.ctl.seen`, JSON.stringify({ ...hook, kind: 'hook', seen: 1 }));
  const counted = { operations: {}, gauges: { near_cache_entries: 7 } };
  const report = { ...hook, kind: 'prosody', version: '0.9.1', number: 1, ...counted };
  await nats.request(`${prefix}.ctl.hook-stats`, JSON.stringify(report), { timeout: 10_000 });
});

afterAll(async () => {
  clearInterval(asking);
  await nats.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await broker.stop();
});

function ask(operation: string, as = nats): Promise<unknown> {
  const envelope = { v: 1, id: randomBytes(12).toString('hex'), server: 'test', budget_ms: 5_000 };
  const question = { user: 'alice@localhost/phone', room: 'lobby@rooms.localhost', nick: 'x' };
  return as.request(`${prefix}.${operation}`, JSON.stringify({ ...envelope, ...question }), { timeout: 5_000 });
}

const top = (args: readonly string[], url = broker.url) =>
  run(process.execPath, [main, 'top', ...args], { cwd: root, env: { WARDER_NATS_URL: url } });

const running = (args: readonly string[], url = broker.url): Promise<RunningProcess> =>
  startProcess({
    command: process.execPath,
    args: [main, 'top', '--interval', '300ms', ...args],
    cwd: root,
    env: { WARDER_NATS_URL: url },
  });

describe('warder top', () => {
  it('prints what happens in a second, in 80 columns, and ends with --once', async () => {
    const { code, stdout, stderr } = await top(['--once', '--interval', '500ms']);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(lines[0]).toMatch(/^warder top {2}2 workers, 1 hook, \S+\/s, prefix xmpp\.policy\.v1 +\d\d:\d\d:\d\d$/);
    // All are refused, and none is degraded; with the other it is the other way round.
    expect(stdout).toMatch(/^join-check +([\d.,]+\/s) +\S+ [µm]?s +\S+ [µm]?s +\S+ % +\1 +0\/s +0\/s$/m);
    expect(stdout).toMatch(/^session-check +([\d.,]+\/s) +\S+ [µm]?s +\S+ [µm]?s +0 % +0\/s +\1 +0\/s$/m);
    expect(stdout.match(/^\S+\/\d+ +[\d.,]+\/s .* 0\.1\.0$/gm)).toHaveLength(2);
    expect(stdout).toMatch(/^down +http +(closed|OPEN.*) +\d+ of 64 +0$/m);
    expect(stdout).toMatch(/^xmpp1\.example\.org +prosody .* 0\.9\.1$/m);
  });

  it('prints the same as JSON', async () => {
    const { code, stdout } = await top(['--once', '--json', '--interval', '500ms']);
    expect(code).toBe(0);
    const view = JSON.parse(stdout) as { total: { requests: number }; workers: { requests: number }[] };
    expect(view).toMatchObject({
      interval_ms: 500,
      seen: expect.any(Number),
      workers: [{ gone_ms: null }, { gone_ms: null }],
      hooks: [{ name: 'xmpp1.example.org', server: 'prosody', gauges: { near_cache_entries: 7 } }],
      sources: [{ source: 'down', type: 'http' }],
    });
    expect(view.workers.reduce((sum, { requests }) => sum + requests, 0)).toBeCloseTo(view.total.requests, 6);
    expect(view.total.requests).toBeGreaterThan(0);
  });

  it('prints a line of JSON each time, until it is told to stop', async () => {
    const child = await running(['--json']);
    await child.waitForOutput(/^\{.*\}\n\{.*\}\n\{.*\}\n/);
    child.signal('SIGTERM');
    expect(await child.exited).toEqual({ code: 0, signal: null });
    for (const line of child.output().trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('total');
  });

  it('draws on a terminal, leaves it as it was, and ends with q', async () => {
    const command = `stty rows 20 cols 80; '${process.execPath}' '${main}' top --interval 300ms`;
    const child = await startProcess({
      command: 'script',
      args: ['-qefc', command, '/dev/null'],
      cwd: root,
      env: { WARDER_NATS_URL: broker.url, TERM: 'xterm', NO_COLOR: '1' },
      hasInput: true,
    });
    // The second drawing has rates.
    await child.waitForOutput(/\?1049h[^]*\[H[^]*join-check +[\d.,]+\/s/);
    child.write('q');
    expect((await child.exited).code).toBe(0);
    const [, after = ''] = child.output().split('\u001b[?25h\u001b[?1049l');
    expect(after).toMatch(/^warder top {2}2 workers[^]*join-check/);
    expect(after).not.toContain('\u001b');
  });

  it('shows who has gone, and that the NATS server has, and goes on when it is back', async () => {
    const own = await startNatsServer();
    const [stays, goes] = await Promise.all([1, 2].map(() => startWorkerProcess(own.url, '')));
    const child = await running([], own.url);
    await child.waitForOutput(/2 workers/);
    await goes?.stop();
    await child.waitForOutput(new RegExp(`1 worker,[^]*/${goes?.pid} +gone for`));
    await own.kill();
    await child.waitForOutput(/the NATS server is gone for \d+ s/);
    await own.restart();
    await child.waitForOutput(/server is gone[^]*1 worker, 0 hooks/);
    await child.stop();
    await stays?.stop();
    await own.stop();
  });

  it('says that there is no worker, and no NATS server', async () => {
    const nowhere = await top(['--once', '--prefix', 'elsewhere']);
    expect([nowhere.code, nowhere.stdout.replaceAll(/\s+/g, ' ')]).toEqual([
      1,
      expect.stringContaining(`no worker is running at ${broker.url} with the prefix elsewhere`),
    ]);
    const gone = await top(['--json'], 'nats://127.0.0.1:1');
    expect([gone.code, JSON.parse(gone.stdout)]).toMatchObject([1, { trouble: 'unreachable' }]);
  });
});

describe('what workers say in $SRV.STATS', () => {
  it('counts real decisions, fallbacks and times by operation', async () => {
    const answers: unknown[] = [];
    for await (const { data } of await nats.requestMany('$SRV.STATS.warder', '', { maxWait: 10_000, maxMessages: 2 })) {
      answers.push(JSON.parse(new TextDecoder().decode(data)));
      if (answers.length === 2) break;
    }
    for (const answer of answers) {
      const report = statsReport.parse(answer);
      const join = report.endpoints.find(({ name }) => name === 'join-check');
      const session = report.endpoints.find(({ name }) => name === 'session-check');
      expect(join?.data?.verdicts['deny']).toBe(join?.num_requests);
      expect(join?.data?.latency_buckets['+Inf']).toBe(join?.num_requests);
      expect(session?.data?.degraded['allow']).toBe(session?.num_requests);
      expect(report.data).toMatchObject({ prefix, freshness: { jetstream: true }, max_in_flight: 4_096 });
    }
  });
});
