/** What each role may do on the broker of deploy/nats, and what none may, with a real worker behind it. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as openSocket } from 'node:net';
import { connect, createInbox, headers, nkeyAuthenticator, nkeys } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { operationNames } from '../../src/wire/operation.ts';
import { startSecuredBroker, subject, watchRefusals } from './secured-broker.ts';
import type { SecuredBroker } from './secured-broker.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const stream = 'WARDER_INVALIDATIONS';
let broker: SecuredBroker;
let worker: WorkerProcess;
const open: NatsConnection[] = [];

beforeAll(async () => {
  broker = await startSecuredBroker();
  const operations = { 'join-check': { sources: 'allow' }, 'session-check': { sources: 'deny' } };
  const config = JSON.stringify({ nats: broker.settings('worker'), operations }); // JSON is YAML
  worker = await startWorkerProcess(broker.url, config);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close()));
});
afterAll(async () => {
  await worker.stop();
  await broker.stop();
});

async function as(name: string): Promise<NatsConnection> {
  const connection = await broker.connect(name);
  open.push(connection);
  return connection;
}

const question = () => ({
  v: 1,
  id: randomBytes(12).toString('hex'),
  server: 'test',
  budget_ms: 10_000,
  user: 'alice@localhost/phone',
  room: 'lobby@rooms.localhost',
  nick: 'Alice',
});

async function isAnswered(nats: NatsConnection): Promise<unknown> {
  const { data } = await nats.request(subject('join-check'), JSON.stringify(question()), { timeout: 10_000 });
  return JSON.parse(new TextDecoder().decode(data));
}

/** What of these the broker refuses to this role; for subscriptions, `subject queue`. */
async function refusedToPublish(name: string, subjects: readonly string[]): Promise<readonly string[]> {
  const nats = await as(name);
  const refusals = watchRefusals(nats);
  for (const one of subjects) nats.publish(one, '{}');
  return refusals.until();
}

async function refusedToSubscribe(name: string, subjects: readonly string[]): Promise<readonly string[]> {
  const nats = await as(name);
  const refusals = watchRefusals(nats);
  for (const one of subjects) {
    const [what = '', queue] = one.split(' ');
    nats.subscribe(what, { callback: () => undefined, ...(queue === undefined ? {} : { queue }) });
  }
  return refusals.until();
}

/** The worker's figure, without labels. */
async function figure(name: string): Promise<number> {
  const text = await (await fetch(`${worker.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

const streamApi = ['CREATE', 'UPDATE', 'INFO', 'DELETE', 'PURGE', 'MSG.GET', 'MSG.DELETE', 'SNAPSHOT', 'RESTORE'].map(
  (verb) => `$JS.API.STREAM.${verb}.${stream}`,
);
const consumerApi = [
  `$JS.API.CONSUMER.CREATE.${stream}`,
  `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.mine`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.mine`,
  `$JS.API.DIRECT.GET.${stream}`,
];
const others = [
  '$JS.API.STREAM.CREATE.OTHER',
  '$SYS.REQ.SERVER.PING',
  '$SYS.REQ.ACCOUNT.WARDER.CONNZ',
  'anything.else',
];

describe('a hook', () => {
  it('asks, and reads its own answer', async () => {
    expect(await isAnswered(await as('prosody-1'))).toMatchObject({ verdict: 'allow' });
    expect(await isAnswered(await as('ejabberd-1'))).toMatchObject({ verdict: 'allow' });
  });

  it('hears changes, says who it is, and publishes on the subjects of hooks alone', async () => {
    expect(await refusedToSubscribe('prosody-1', [subject('invalidate'), subject('invalidated')])).toEqual([]);
    const subjects = [...operationNames, 'ctl.seen', 'ctl.flush', 'ctl.hook-stats'].map(subject);
    expect(await refusedToPublish('prosody-1', subjects)).toEqual([]);
  });

  it('cannot answer what is asked, nor see it', async () => {
    const questions = operationNames.map(subject);
    const subjects = [
      ...questions.map((one) => `${one} warder`),
      ...questions,
      subject('*'),
      subject('>'),
      '>',
      '*.*.*.*',
      `${subject('*')} warder`,
      '> warder',
    ];
    const refused = subjects.map((one) => one.split(' ')[0]);
    expect(await refusedToSubscribe('prosody-1', subjects)).toEqual(refused);
  });

  it('cannot publish a change, with or without its number', async () => {
    const subjects = [subject('invalidate'), subject('invalidated')];
    expect(await refusedToPublish('prosody-1', subjects)).toEqual(subjects);
  });

  it('cannot read the answers of others, nor forge one', async () => {
    const inboxes = ['_INBOX.>', '_INBOX.*', '_INBOX.*.>', '_INBOX.ejabberd-1.>', '_INBOX.warder-worker.>', '*.>'];
    expect(await refusedToSubscribe('prosody-1', inboxes)).toEqual(inboxes);
    const one = ['_INBOX.ejabberd-1.abc', '_INBOX.warder-worker.abc', '_INBOX.prosody-1.abc'];
    expect(await refusedToPublish('prosody-1', one)).toEqual(one);
  });

  it('cannot touch the stream, nor anything else of JetStream', async () => {
    const subjects = ['$JS.API.INFO', '$JS.API.STREAM.NAMES', ...streamApi, ...consumerApi, ...others];
    expect(await refusedToPublish('prosody-1', subjects)).toEqual(subjects);
    const heard = ['$JS.>', '$JS.EVENT.>', '$SYS.>', '$SRV.>', '$SRV.PING'];
    expect(await refusedToSubscribe('prosody-1', heard)).toEqual(heard);
  });

  it('cannot speak as a worker on the control subjects, nor listen to the others', async () => {
    const subjects = ['ctl.members', 'ctl.decisions'].map(subject);
    expect(await refusedToPublish('prosody-1', subjects)).toEqual(subjects);
    const heard = [subject('ctl.>'), subject('ctl.seen'), `${subject('ctl.flush')} warder`, subject('ctl.decisions')];
    expect(await refusedToSubscribe('prosody-1', heard)).toEqual(heard.map((one) => one.split(' ')[0]));
  });

  it('has one user or one room flushed, and never all, a domain or an operation', async () => {
    const [hook, admin] = await Promise.all([as('prosody-1'), as('admin')]);
    const changes: Record<string, unknown>[] = [];
    admin.subscribe(subject('invalidated'), {
      callback: (_, message) => {
        const said = message.json<Record<string, unknown>>();
        if (!('tick' in said)) changes.push(said);
      },
    });
    await admin.flush();
    const flush = async (scope: object): Promise<Record<string, unknown>> =>
      (await hook.request(subject('ctl.flush'), JSON.stringify({ v: 1, ...scope }), { timeout: 10_000 })).json();
    for (const scope of [
      { all: true },
      { domain: 'localhost' },
      { operation: 'join-check' },
      { user: 'alice@localhost', all: true },
      { room: 'lobby@rooms.localhost', domain: 'localhost' },
      {},
    ]) {
      expect(await flush(scope), JSON.stringify(scope)).toMatchObject({ failure: 'bad-request' });
    }
    const { seq } = await flush({ user: 'alice@localhost' });
    expect(seq).toBeGreaterThan(1e12);
    await admin.flush();
    expect(changes).toEqual([expect.objectContaining({ user: 'alice@localhost' })]);
  });

  it('cannot make a worker publish anywhere but into inboxes', async () => {
    const [hook, admin] = await Promise.all([as('prosody-1'), as('admin')]);
    const heard: unknown[] = [];
    for (const one of ['invalidated', 'ctl.seen', 'ctl.decisions']) {
      admin.subscribe(subject(one), { callback: (_, { data }) => heard.push(new TextDecoder().decode(data)) });
    }
    await admin.flush();
    const before = await figure('warder_refused_reply_subjects_total');
    const tricks = [
      subject('invalidate'),
      subject('invalidated'),
      subject('ctl.seen'),
      subject('ctl.decisions'),
      subject('join-check'),
      `$JS.API.STREAM.PURGE.${stream}`,
      `$JS.API.STREAM.DELETE.${stream}`,
      '_INBOX',
      '_INBOXES.prosody-1',
    ];
    for (const reply of tricks) hook.publish(subject('join-check'), JSON.stringify(question()), { reply });
    for (const reply of tricks) hook.publish(subject('ctl.flush'), '{"v":1,"user":"eve@localhost"}', { reply });
    // The worker reads in order, so that what it answers now stands behind all of the above.
    expect(await isAnswered(hook)).toMatchObject({ verdict: 'allow' });
    await admin.flush();
    expect(await figure('warder_refused_reply_subjects_total')).toBe(before + tricks.length);
    expect(heard.filter((one) => /verdict|failure|eve@/.test(String(one)))).toEqual([]);
  });
});

describe('a worker', () => {
  it('is refused nothing that it does', async () => {
    expect(await figure('warder_nats_errors_total')).toBe(0);
    const ready = await fetch(`${worker.url}/readyz`);
    expect(ready.status).toBe(200);
  });

  it('publishes into inboxes and on its own subjects, whatever is done with its key', async () => {
    const allowed = ['_INBOX.prosody-1.abc', subject('invalidate'), subject('ctl.seen'), '$JS.API.INFO'];
    expect(await refusedToPublish('worker', allowed)).toEqual([]);
    const subjects = [
      subject('invalidated'),
      ...operationNames.map(subject),
      ...['ctl.flush', 'ctl.members', 'ctl.hook-stats'].map(subject),
      ...['UPDATE', 'DELETE', 'MSG.GET', 'MSG.DELETE', 'RESTORE'].map((verb) => `$JS.API.STREAM.${verb}.${stream}`),
      ...consumerApi,
      ...others,
    ];
    expect(await refusedToPublish('worker', subjects)).toEqual(subjects);
  });

  it('takes its turn in the queue group, and hears no question of others', async () => {
    const subjects = [...operationNames.map(subject), subject('*'), subject('>'), '>'];
    expect(await refusedToSubscribe('worker', subjects)).toEqual(subjects);
    const inboxes = ['_INBOX.>', '_INBOX.*.>', '_INBOX.prosody-1.>', '_INBOX.warder-cli.>'];
    expect(await refusedToSubscribe('worker', inboxes)).toEqual(inboxes);
  });
});

describe('an administrator', () => {
  it('asks, flushes everything, lists workers and inspects the stream', async () => {
    const admin = await as('admin');
    const refusals = watchRefusals(admin);
    expect(await isAnswered(admin)).toMatchObject({ verdict: 'allow' });
    const { seq } = await admin.jetstream().publish(subject('invalidate'), '{"v":1,"all":true}');
    expect(seq).toBeGreaterThan(1e12);
    expect((await admin.request('$SRV.PING.warder')).json()).toMatchObject({ name: 'warder' });
    const manager = await admin.jetstreamManager();
    expect((await manager.streams.info(stream)).config.name).toBe(stream);
    expect(await refusals.until()).toEqual([]);
  });

  it('does not number changes, answer questions, or read the answers of others', async () => {
    const subjects = [
      subject('invalidated'),
      '_INBOX.prosody-1.abc',
      `$JS.API.STREAM.UPDATE.${stream}`,
      ...consumerApi,
    ];
    expect(await refusedToPublish('admin', subjects)).toEqual(subjects);
    const heard = [`${subject('join-check')} warder`, subject('join-check'), '_INBOX.>', '_INBOX.prosody-1.>', '>'];
    expect(await refusedToSubscribe('admin', heard)).toEqual(heard.map((one) => one.split(' ')[0]));
  });
});

describe('forged headers', () => {
  it('change nothing: the number of a change is the one that the stream gave it', async () => {
    const admin = await as('admin');
    const forged = headers();
    for (const [name, value] of [
      ['Nats-Stream', stream],
      ['Nats-Sequence', '9007199254740990'],
      ['Nats-Subject', subject('invalidate')],
      ['Nats-Last-Sequence', '9007199254740989'],
    ] as const) {
      forged.append(name, value);
    }
    const before = await figure('warder_changes_seen');
    const { seq } = await admin.jetstream().publish(subject('invalidate'), '{"v":1,"user":"bob@localhost"}', {
      headers: forged,
    });
    expect(await isAnswered(admin)).toMatchObject({ verdict: 'allow' });
    const seen = await figure('warder_changes_seen');
    expect(seen).toBeGreaterThan(before);
    expect(seen).toBeLessThan(Date.now() + 1e9);
    expect(seq).toBeLessThan(Date.now() + 1e9);
    const foreign = await figure('warder_changes_foreign_total');
    expect(foreign).toBe(0);
  });
});

describe('whoever has no credentials', () => {
  const trust = () => ({ tls: { caFile: broker.site.file('ca.pem') }, servers: broker.url, reconnect: false });

  it('gets nothing', async () => {
    await expect(connect(trust())).rejects.toThrow('Authorization Violation');
  });

  it('gets nothing with the name of a hook and no password, or another', async () => {
    for (const pass of ['', 'prosody-1', '$2a$BCRYPT']) {
      await expect(connect({ ...trust(), user: 'prosody-1', pass })).rejects.toThrow('Authorization Violation');
    }
    await expect(connect({ ...trust(), user: 'worker', pass: '' })).rejects.toThrow('Authorization Violation');
  });

  it('gets nothing with a key that nobody knows, or the name of one without its signature', async () => {
    const stranger = nkeyAuthenticator(nkeys.createUser().getSeed());
    await expect(connect({ ...trust(), authenticator: stranger })).rejects.toThrow('Authorization Violation');
    const nkey = nkeys.fromSeed(readFileSync(broker.site.file('worker.nk')).subarray(0, 58)).getPublicKey();
    const unsigned = () => ({ nkey, sig: '' });
    await expect(connect({ ...trust(), authenticator: unsigned })).rejects.toThrow('Authorization Violation');
  });

  it('gets nothing in clear, with the right password', async () => {
    const pass = readFileSync(broker.site.file('prosody-1.password'), 'utf8').trim();
    const socket = openSocket(broker.server.port, '127.0.0.1');
    let said = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    const login = JSON.stringify({ verbose: true, user: 'prosody-1', pass });
    socket.write(`CONNECT ${login}\r\nSUB ${createInbox('_INBOX.prosody-1')} 1\r\nPING\r\n`);
    await closed;
    expect(said).toContain('"tls_required":true');
    expect(said).not.toMatch(/\+OK|PONG/);
  });
});
