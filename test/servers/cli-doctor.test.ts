/** `warder doctor` on set-ups that are well, and on each that is not in its own way. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { streamConfig, streamName } from '../../src/nats/stream.ts';
import { startApplication } from './application.ts';
import type { Application } from './application.ts';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startPostgresServer } from './postgres-server.ts';
import { startProsody } from './prosody.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const prefix = 'xmpp.policy.v1';
let main: string;
let folder: string;
let broker: NatsServer;
let workers: WorkerProcess[] = [];
let application: Application;
const open: NatsConnection[] = [];
/** Of the hook that is there all the time. */
let hook: NatsConnection;

beforeAll(async () => {
  main = await builtMain();
  folder = mkdtempSync(join(tmpdir(), 'warder-test-doctor-'));
  application = await startApplication();
  broker = await startNatsServer({ jetstream: true });
  workers = await Promise.all([1, 2].map(() => startWorkerProcess(broker.url, 'freshness: { bound_ms: 500 }')));
  hook = await connect({ servers: broker.url });
  await startHook(hook, 'xmpp1', true);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close()));
});
afterAll(async () => {
  await hook.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await broker.stop();
  await application.stop();
  rmSync(folder, { recursive: true });
});

interface Doctor {
  readonly code: number | null;
  readonly stdout: string;
  /** `level about: found`, of one level. */
  of(level: string): string[];
}

async function doctor(url: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Doctor> {
  const options = { cwd: folder, env: { WARDER_NATS_URL: url, ...env } };
  const { code, stdout } = await run(process.execPath, [main, 'doctor', '--json', ...args], options);
  const { findings } = JSON.parse(stdout) as { findings: { level: string; about: string; found: string }[] };
  return {
    code,
    stdout,
    of: (level) => findings.filter((one) => one.level === level).map(({ about, found }) => `${about}: ${found}`),
  };
}

function fileWith(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

async function enter(url: string): Promise<NatsConnection> {
  const nats = await connect({ servers: url });
  open.push(nats);
  return nats;
}

/** Says that it is there, and follows the stream if it is to keep up. */
async function startHook(nats: NatsConnection, name: string, keepsUp: boolean): Promise<void> {
  const say = (seen: number) =>
    nats.publish(`${prefix}.ctl.seen`, JSON.stringify({ v: 1, kind: 'hook', boot_id: name, name, seen }));
  nats.subscribe(`${prefix}.invalidated`, {
    callback: (_error, message) => keepsUp && say(Number(message.headers?.last('Nats-Sequence'))),
  });
  say(1);
  const report = { v: 1, boot_id: name, name, kind: 'prosody', version: '0.1.0', number: 1, operations: {} };
  await nats.request(`${prefix}.ctl.hook-stats`, JSON.stringify(report), { timeout: 10_000 });
}

describe('warder doctor, with real servers behind it', () => {
  it('sees the hook of a Prosody, by its name and version, keep up with changes', async () => {
    const own = await startNatsServer({ jetstream: true });
    const worker = await startWorkerProcess(own.url, 'operations: { stanza-check: { sources: allow } }');
    const prosody = await startProsody({ natsUrl: own.url });
    const nats = await enter(own.url);
    const heard = async () => {
      const { data } = await nats.request(`${prefix}.ctl.members`, '', { timeout: 5_000 });
      return JSON.parse(Buffer.from(data).toString()) as unknown;
    };
    await expect
      .poll(heard, { timeout: 30_000 })
      .toMatchObject({ members: expect.arrayContaining([expect.objectContaining({ server: 'prosody' })]) });
    const { code, of } = await doctor(own.url);
    expect([code, of('fail'), of('warn')]).toEqual([0, [], []]);
    expect(of('ok')).toContain('seen: all 2 workers and hooks have reported the change of just now');
    expect(of('ok')).toContainEqual(expect.stringMatching(/^prosody: 1 of version \S+$/));
    await prosody.stop();
    await worker.stop();
    await own.stop();
  });

  it('asks a database whether it is a replica, and nothing else', async () => {
    const postgres = await startPostgresServer({ log_statement: 'all' });
    const file = fileWith(
      'sql.yaml',
      `sources: { database: { type: roster-sql, url: "${postgres.url}", query: "SELECT $1 AS jid" } }`,
    );
    const { of } = await doctor(broker.url, ['--config', file]);
    expect(of('ok')).toContainEqual(
      expect.stringMatching(/^source: database \(roster-sql\): 127\.0\.0\.1:\d+\/postgres answers, in /),
    );
    expect(postgres.output().match(/(?:statement|execute [^:]*): .*/g)).toEqual([
      expect.stringContaining('SELECT pg_is_in_recovery() AS replica'),
    ]);
    await postgres.stop();
  });
});

describe('warder doctor', () => {
  it('finds nothing wrong where nothing is, in 80 columns, and changes nothing', async () => {
    const policy = fileWith('policy.yaml', 'stanzas: { default: allow }');
    const file = fileWith(
      'well.yaml',
      `operations: { stanza-check: { sources: app }, join-check: { sources: policy } }
sources: { app: { type: http, url: "${application.url}/" }, policy: { type: static, file: ${policy} } }`,
    );
    const watcher = await enter(broker.url);
    const changes: string[] = [];
    watcher.subscribe(`${prefix}.invalidate`, {
      callback: (_error, { data }) => void changes.push(Buffer.from(data).toString()),
    });
    await watcher.flush();
    const options = { cwd: folder, env: { WARDER_NATS_URL: broker.url } };
    const { code, stdout, stderr } = await run(process.execPath, [main, 'doctor', '--config', file], options);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^nothing is wrong$/m);
    expect(stdout).not.toMatch(/^(WARN|FAIL)/m);
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    for (const about of [
      'configuration',
      'broker',
      'workers',
      'stream',
      'changes',
      'clock',
      'seen',
      'prosody',
      'questions',
      'permissions',
      'source',
    ])
      expect(stdout).toMatch(new RegExp(`^OK +${about} `, 'm'));
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('all 3 workers and hooks have reported the change of just now');
    expect(changes.filter((change) => !change.includes('"tick"'))).toEqual([]);
    expect(application.asked).toBe(0);
  });

  it('says that there is no NATS server, and looks at the file all the same', async () => {
    const file = fileWith('unreachable.yaml', 'sources: { gone: { type: http, url: "http://127.0.0.1:1/" } }');
    const { code, of } = await doctor('nats://127.0.0.1:1', ['--config', file]);
    expect(code).toBe(1);
    expect(of('fail')).toEqual([
      'broker: no NATS server at nats://127.0.0.1:1 (connection refused); the address is from WARDER_NATS_URL',
      'source: gone (http): connect ECONNREFUSED 127.0.0.1:1',
    ]);
  });

  it('says everything that is wrong with a file, and looks at the rest all the same', async () => {
    const file = fileWith('broken.yaml', 'log: { level: inof }\nfreshness: { bound_ms: 1 }');
    const { code, of } = await doctor(broker.url, ['--config', file]);
    expect(code).toBe(1);
    expect(of('fail')).toEqual([expect.stringContaining('log.level'), expect.stringContaining('bound_ms')]);
    expect(of('ok')).toContainEqual(expect.stringMatching(/^questions: 16 of 16 /));
  });

  it('names the source that cannot be reached, and why', async () => {
    const file = fileWith(
      'sources.yaml',
      `sources:
  plain: { type: http, url: "https://127.0.0.1:${new URL(application.url).port}/", timeout_ms: 1000 }
  nowhere: { type: roster-http, url: "http://policy.invalid/%s" }
  nofile: { type: static, file: gone.yaml }
  badfile: { type: static, file: ${fileWith('bad-policy.yaml', 'stanza: {}')} }
  database: { type: roster-sql, url: "postgres://warder:s3cret@127.0.0.1:1/chat", query: "SELECT $1" }`,
    );
    const { code, stdout, of } = await doctor(broker.url, ['--config', file]);
    expect(code).toBe(1);
    expect(of('fail')).toEqual([
      expect.stringMatching(/^source: plain \(http\): .*(SSL|wrong version|TLS|packet)/i),
      expect.stringMatching(/^source: nowhere \(roster-http\): getaddrinfo/),
      expect.stringMatching(/^source: nofile \(static\): ENOENT/),
      expect.stringMatching(/^source: badfile \(static\): .*stanza/),
      expect.stringMatching(/^source: database \(roster-sql\): 127\.0\.0\.1:1\/chat: connect ECONNREFUSED/),
    ]);
    expect(stdout).not.toContain('s3cret');
  });

  it('says that no worker answers, and no hook is heard', async () => {
    const { code, of } = await doctor(broker.url, ['--prefix', 'elsewhere']);
    expect(code).toBe(1);
    expect(of('fail')).toEqual([
      'workers: none answers with the prefix elsewhere',
      expect.stringMatching(/^stream: there is no stream WARDER_INVALIDATIONS_elsewhere_/),
    ]);
    expect(of('warn')).toContain('hooks: none is heard');
  });

  it('notices a worker that takes questions and does not answer', async () => {
    const [worker] = workers;
    await worker?.pause();
    try {
      const { code, of } = await doctor(broker.url);
      expect(code).toBe(1);
      expect(of('fail').join('\n')).toMatch(/^questions: \d+ of \d+ were not answered: TIMEOUT$/m);
      const isStopped = new RegExp(`^seen: worker \\S+/${worker?.pid} has not reported`);
      // Whoever is asked who is there may be the one that is stopped.
      expect([...of('warn'), ...of('fail')]).toSatisfy((found: string[]) =>
        found.some((one) => one === 'members: no worker says who is there' || isStopped.test(one)),
      );
    } finally {
      worker?.signal('SIGCONT');
    }
  });

  it('compares the clocks', async () => {
    const shift = 'const now = Date.now; Date.now = () => now() - 5000';
    const { of } = await doctor(broker.url, [], {
      NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(shift)}"`,
    });
    expect(of('warn')).toContainEqual(
      expect.stringMatching(/^clock: the clock of the NATS server is (4\.9|5) s ahead of that of this machine$/),
    );
  });

  it('names who is behind, and that versions are mixed', async () => {
    await startHook(await enter(broker.url), 'slow', false);
    const other = await enter(broker.url);
    other.subscribe('$SRV.STATS.warder', {
      callback: (_error, message) =>
        void message.respond(JSON.stringify({ id: 'old', version: '0.0.9', started: '', endpoints: [] })),
    });
    await other.flush();
    const { code, of } = await doctor(broker.url);
    expect(code).toBe(0);
    expect(of('warn')).toContain('workers: 1 of version 0.0.9, 2 of version 0.1.0');
    expect(of('warn')).toContain('seen: hook slow has not reported the change of just now; its last is 1');
  });
});

describe('warder doctor, of the stream', () => {
  it('says that there is no JetStream', async () => {
    const plain = await startNatsServer();
    const { of } = await doctor(plain.url);
    expect(of('warn')).toContainEqual(expect.stringMatching(/^jetstream: the NATS server has no JetStream/));
    await plain.stop();
  });

  it('says what makes it unusable, and what differs', async () => {
    const own = await startNatsServer({ jetstream: true });
    const { streams } = await (await enter(own.url)).jetstreamManager();
    const right = streamConfig({ prefix, replicas: 1 });
    const { republish: _none, ...without } = right;
    await streams.add(without);
    expect((await doctor(own.url)).of('fail')).toContain(`stream: ${streamName(prefix)} has republish to nowhere`);
    await streams.delete(streamName(prefix));
    await streams.add({ ...right, max_age: 0 });
    const { of } = await doctor(own.url);
    expect(of('warn')).toContain(`stream: ${streamName(prefix)}: max_age is 0 and should be 600000000000`);
    expect(of('fail')).toContainEqual(
      expect.stringMatching(/^changes: one was not acknowledged: acknowledged as 1 by a stream/),
    );
    await streams.purge(streamName(prefix), { seq: Date.now() + 3_600_000 });
    expect((await doctor(own.url)).of('warn')).toContainEqual(
      expect.stringMatching(/^numbers: changes are numbered 3\d{3}(\.\d)? s ahead of the time/),
    );
    await own.stop();
  });
});
