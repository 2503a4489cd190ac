/** `<prefix>.ctl.watch` and `.ctl.decisions` of real workers, and `warder tail`, which shows them. */
import { randomBytes } from 'node:crypto';
import { connect } from 'nats';
import type { Msg, NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecisionsWatch, maxToldPerSecond } from '../../src/nats/decisions-watch.ts';
import { parseJid } from '../../src/wire/jid.ts';
import { outcomes } from '../../src/wire/watch.ts';
import { problemsOf } from '../asyncapi/validators.ts';
import { ManualClock } from '../clock.ts';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { builtMain, root } from './built.ts';
import { run } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const prefix = 'xmpp.policy.v1';
const secret = 'meet me at the old mill';
let broker: NatsServer;
let application: Application;
let workers: WorkerProcess[] = [];
let nats: NatsConnection;
let main: string;

beforeAll(async () => {
  main = await builtMain();
  broker = await startNatsServer({ jetstream: true });
  application = await startApplication();
  const config = `
operations:
  stanza-check: { sources: { localhost: app, '*': deny } }
  join-check: { sources: deny }
  session-check: { sources: down, fallback: allow }
  roster-refresh: { sources: app }
  roster-subscription: { sources: allow }
sources:
  app: { type: http, url: "${application.url}/" }
  down: { type: http, url: "http://127.0.0.1:1/" }
`;
  application.answer(json({ verdict: 'allow', ttl_ms: 60_000, scope: 'pair', reason: 'friends' }));
  workers = await Promise.all([1, 2].map(() => startWorkerProcess(broker.url, config)));
  nats = await connect({ servers: broker.url });
});

afterAll(async () => {
  await nats.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await application.stop();
  await broker.stop();
});

const envelope = () => ({ v: 1, id: randomBytes(12).toString('hex'), server: 'node@test', budget_ms: 10_000 });

async function ask(operation: string, fields: object): Promise<Record<string, unknown>> {
  const request = JSON.stringify({ ...envelope(), ...fields });
  return (await nats.request(`${prefix}.${operation}`, request, { timeout: 10_000 })).json();
}

const askStanza = (from: string, to = 'bob@localhost/desk') =>
  ask('stanza-check', {
    hook: 'send',
    from,
    to,
    kind: 'message',
    type: 'chat',
    stanza: `<message from='${from}' to='${to}' type='chat'><body>${secret}</body></message>`,
  });
const askJoin = (user: string, room: string) => ask('join-check', { user, room, nick: 'x' });

/** Watches until stopped; every worker knows of it when it resolves. */
async function watch(filter: object, as = nats) {
  const id = randomBytes(8).toString('hex');
  const told: Record<string, unknown>[] = [];
  const subscription = as.subscribe(`${prefix}.ctl.decisions`, {
    callback: (_error, message: Msg) => {
      const said = message.json<{ for?: string[] }>();
      if (said.for?.includes(id) === true) told.push(said);
    },
  });
  await as.flush();
  const answers: Record<string, unknown>[] = [];
  for await (const answer of await as.requestMany(`${prefix}.ctl.watch`, JSON.stringify({ v: 1, id, filter }), {
    maxWait: 10_000,
    maxMessages: workers.length,
  })) {
    answers.push(answer.json());
    if (answers.length === workers.length) break;
  }
  return {
    told,
    answers,
    /** What has been told, after everything that was asked before. */
    until: async (count: number) => {
      await expect.poll(() => told.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(count);
      return told;
    },
    stop: () => subscription.unsubscribe(),
  };
}

describe('who watches decisions', () => {
  it('is told of those of every worker, as the document of the protocol says, and without what people write', async () => {
    const watching = await watch({});
    expect(watching.answers).toEqual([
      { v: 1, worker: expect.any(String) },
      { v: 1, worker: expect.any(String) },
    ]);
    await askStanza('alice@localhost/phone');
    await askJoin('alice@localhost/phone', 'lobby@rooms.localhost');
    await ask('session-check', { user: 'alice@localhost/phone', ip: '192.0.2.1' });
    const subscription = { user: 'alice@localhost', contact: 'eve@localhost', direction: 'in', action: 'subscribe' };
    await ask('roster-subscription', { ...subscription, text: secret });
    await ask('roster-refresh', { users: [] });
    await nats.request(`${prefix}.join-check`, '{', { timeout: 5_000 });
    const told = await watching.until(6);
    watching.stop();
    expect(told).toHaveLength(6);
    for (const one of told) expect(problemsOf('watched-decision', one)).toEqual([]);
    expect(JSON.stringify(told)).not.toContain(secret);
    const by = (operation: string) => told.find((one) => one['operation'] === operation);
    expect(by('stanza-check')).toMatchObject({
      request: { hook: 'send', from: 'alice@localhost/phone', to: 'bob@localhost/desk', server: 'node@test' },
      verdict: 'allow',
      source: 'app',
      remembered: false,
      reason: 'friends',
      took_ms: expect.any(Number),
    });
    expect(by('session-check')).toMatchObject({
      verdict: 'allow',
      degraded: 'source-unavailable',
      source: 'down',
    });
    expect(by('roster-refresh')).toMatchObject({ verdict: 'ok', request: { users_total: 0 } });
    expect(told.find((one) => one['verdict'] === 'failed')).toMatchObject({ failure: 'bad-request' });
  });

  it('is told what was remembered', async () => {
    const watching = await watch({ jid: 'often@localhost' });
    await Promise.all(Array.from({ length: 20 }, () => askStanza('often@localhost/phone')));
    await Promise.all(Array.from({ length: 20 }, () => askStanza('often@localhost/phone')));
    const told = await watching.until(40);
    watching.stop();
    expect(told.filter(({ remembered }) => remembered === true).length).toBeGreaterThan(10);
  });

  it.each<[string, object, string[]]>([
    ['a bare JID on either side', { jid: 'Bob@localhost' }, ['stanza carol bob', 'stanza bob carol']],
    ['a full JID', { jid: 'bob@localhost/desk' }, ['stanza carol bob']],
    ['a domain', { jid: 'rooms.localhost' }, ['stanza carol lobby', 'join carol den', 'join carol lobby']],
    ['a room', { room: 'lobby@rooms.localhost' }, ['stanza carol lobby', 'join carol lobby']],
    ['a verdict', { verdict: ['drop', 'deny'] }, ['join carol den', 'join carol lobby']],
    ['an operation', { operation: ['join-check'] }, ['join carol den', 'join carol lobby']],
    ['a fallback', { degraded: true }, ['session carol']],
    ['two of them', { jid: 'carol@localhost', verdict: ['allow'], operation: ['session-check'] }, ['session carol']],
    ['nothing that is there', { verdict: ['modify'] }, []],
  ])('is told of those alone that are wanted: %s', async (_what, filter, wanted) => {
    const all = await watch({});
    const watching = await watch(filter);
    await askStanza('carol@localhost/phone');
    await askStanza('bob@localhost/mobile', 'carol@localhost');
    await askStanza('carol@localhost/phone', 'lobby@rooms.localhost');
    await askJoin('carol@localhost/phone', 'den@rooms.localhost');
    await askJoin('carol@localhost/phone', 'lobby@rooms.localhost');
    await ask('session-check', { user: 'carol@localhost/phone' });
    await all.until(6);
    all.stop();
    watching.stop();
    const node = (jid: string | undefined) => jid?.split('@')[0] ?? '';
    const lines = watching.told.map(({ operation, request }) => {
      const { from, to, user, room } = request as Record<string, string | undefined>;
      return [String(operation).split('-')[0], node(from ?? user), node(to ?? room)].join(' ').trim();
    });
    expect(lines.toSorted()).toEqual(wanted.toSorted());
  });

  it.each([
    ['a JID that is none', { jid: 'b b@localhost' }],
    ['a room with a nick', { room: 'lobby@rooms.localhost/nick' }],
    ['a verdict that is none', { verdict: ['perhaps'] }],
  ])('is told that he may not want %s', async (_what, filter) => {
    const { answers, stop } = await watch(filter);
    stop();
    expect(answers).toHaveLength(2);
    for (const answer of answers) {
      expect(answer).toMatchObject({ failure: 'bad-request' });
      expect(problemsOf('watch-failure', answer)).toEqual([]);
    }
  });
});

describe('a worker that is watched', () => {
  const answered = {
    operation: 'session-check',
    request: { user: parseJid('a@localhost/x') },
    reply: { v: 1, id: 'i', seq: 0, age_ms: 0, verdict: 'allow', ttl_ms: 0, scope: 'none' },
    tookMs: 1,
    isAtOnce: false,
  } as const;

  async function startWatch() {
    const clock = new ManualClock();
    const own = await connect({ servers: broker.url });
    // Of its own, so that the workers of the other tests say nothing here.
    const lone = `lone.${randomBytes(4).toString('hex')}`;
    const watched = new DecisionsWatch({ nats: own, prefix: lone, clock, worker: 'w', sourceOf: () => 'app' });
    watched.start();
    await own.flush();
    const said: Record<string, unknown>[] = [];
    own.subscribe(`${lone}.ctl.decisions`, { callback: (_error, message) => void said.push(message.json()) });
    const tell = (id: string, filter = {}) =>
      own.request(`${lone}.ctl.watch`, JSON.stringify({ v: 1, id, filter }), { timeout: 5_000 });
    return {
      clock,
      watched,
      said,
      tell,
      flush: () => own.flush(),
      stop: async () => {
        watched.stop();
        await own.close();
      },
    };
  }

  it('tells at most so many in a second, and says at its end how many were left out', async () => {
    const { watched, said, tell, stop } = await startWatch();
    expect(watched.isOpen).toBe(false);
    await tell('a');
    await tell('b', { verdict: ['deny'] });
    expect(watched.isOpen).toBe(true);
    for (let count = 0; count < maxToldPerSecond + 7; count += 1) watched.see(answered);
    await expect.poll(() => said.length, { timeout: 10_000 }).toBe(maxToldPerSecond + 1);
    expect(said.at(-1)).toEqual({ v: 1, worker: 'w', at: expect.any(Number), dropped: { a: 7 } });
    expect(problemsOf('watched-dropped', said.at(-1))).toEqual([]);
    watched.see(answered);
    await expect.poll(() => said.length).toBe(maxToldPerSecond + 2);
    await stop();
  });

  it('forgets who has said nothing for 15 seconds, and then looks at no decision', async () => {
    const { clock, watched, tell, stop } = await startWatch();
    await tell('a');
    await tell('b');
    clock.advance(14_000);
    await tell('b');
    clock.advance(14_000);
    await expect.poll(() => watched.isOpen).toBe(true);
    clock.advance(2_000);
    await expect.poll(() => watched.isOpen, { timeout: 10_000 }).toBe(false);
    await stop();
  });

  it('takes 32 who watch, and those who do already', async () => {
    const { tell, stop } = await startWatch();
    for (let count = 0; count < 32; count += 1) await tell(`id ${count}`);
    expect((await tell('one more')).json()).toMatchObject({ failure: 'overloaded' });
    expect((await tell('id 7')).json()).toEqual({ v: 1, worker: 'w' });
    await stop();
  });
});

describe('warder tail', () => {
  const tail = (...args: readonly string[]): Promise<RunningProcess> =>
    startProcess({
      command: process.execPath,
      args: [main, 'tail', ...args],
      cwd: root,
      ready: /2 workers tell/,
      env: { WARDER_NATS_URL: broker.url, NO_COLOR: '1' },
    });

  it('says what it waits for, shows a line a decision, and ends after so many', async () => {
    const child = await tail('--jid', 'Dave@localhost', '--verdict', 'deny', '--count', '2');
    expect(child.output().replaceAll(/\s+/g, ' ')).toBe(
      `waiting for deny decisions with dave@localhost, at ${broker.url} with the prefix ${prefix} 2 workers tell `,
    );
    await askStanza('dave@localhost/phone');
    await askJoin('dave@localhost/phone', 'lobby@rooms.localhost');
    await askStanza('x@elsewhere.example', 'dave@localhost');
    expect(await child.exited).toEqual({ code: 0, signal: null });
    const lines = child
      .output()
      .split('\n')
      .filter((line) => /^\d\d:/.test(line));
    expect(lines.map((line) => line.slice(9).replace(/, \S+ (µs|ms|s)\)/, ')'))).toEqual([
      'join    deny   dave@localhost → lobby@rooms.localhost (deny) the source deny',
      'stanza  deny   x@elsewhere.example → dave@localhost (deny) the source deny',
    ]);
  });

  it('prints a line of JSON a decision, and ends by a signal in good order', async () => {
    const child = await tail('--degraded', '--json');
    await ask('session-check', { user: 'erin@localhost/phone' });
    const [line] = await child.waitForOutput(/^\{.*\}$/m);
    expect(JSON.parse(line)).toMatchObject({
      operation: 'session-check',
      verdict: 'allow',
      degraded: 'source-unavailable',
      at: expect.any(Number),
      worker: expect.any(String),
      request: { user: 'erin@localhost/phone' },
    });
    child.signal('SIGINT');
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  it('says when the NATS server goes and comes back, and goes on', async () => {
    const own = await startNatsServer();
    const worker = await startWorkerProcess(own.url, 'operations: { join-check: { sources: deny } }');
    const child = await startProcess({
      command: process.execPath,
      args: [main, 'tail'],
      cwd: root,
      ready: /1 worker tells/,
      env: { WARDER_NATS_URL: own.url },
    });
    await own.kill();
    await child.waitForOutput(/the NATS server is gone/);
    await own.restart();
    await child.waitForOutput(/is back\n(?:[^]*\n)?/);
    const asker = await connect({ servers: own.url });
    const join = { user: 'alice@localhost/phone', room: 'lobby@rooms.localhost', nick: 'x' };
    const asking = async () => {
      const request = JSON.stringify({ ...envelope(), ...join });
      await asker.request(`${prefix}.join-check`, request, { timeout: 1_000 }).catch(() => undefined);
      return child.output();
    };
    await expect.poll(asking, { timeout: 20_000 }).toContain('alice@localhost → lobby@rooms.localhost');
    await asker.close();
    await child.stop();
    await worker.stop();
    await own.stop();
  });

  it.each([
    [['--verdict', 'perhaps'], `There is no perhaps; there are ${outcomes.join(', ')}.`],
    [['--jid', 'b b@x'], 'is not allowed there'],
    [['--room', 'lobby@rooms.localhost/nick'], 'It has a nick in it'],
    [['--count', '0'], 'It must be a number from 1 up.'],
  ])('says what would be right: %j', async (args, say) => {
    const { code, stderr } = await run(process.execPath, [main, 'tail', ...args], { cwd: root });
    expect([code, stderr.replaceAll(/\s+/g, ' ')]).toEqual([2, expect.stringContaining(say)]);
  });

  it('says that there is no NATS server', async () => {
    const { code, stdout } = await run(process.execPath, [main, 'tail', '--nats', 'nats://127.0.0.1:1'], { cwd: root });
    expect([code, stdout]).toEqual([1, expect.stringContaining('no NATS server at nats://127.0.0.1:1')]);
  });
});
