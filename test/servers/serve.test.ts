/** The dispatcher over a real broker, with a source that the test holds in its hands. */
import fc from 'fast-check';
import { connect, createInbox } from 'nats';
import type { Msg, NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Decisions } from '../../src/cache/decisions.ts';
import { ChangeOrder } from '../../src/cache/order.ts';
import { Proof } from '../../src/cache/proof.ts';
import { RecentChanges } from '../../src/cache/recent.ts';
import { Rosters } from '../../src/cache/rosters.ts';
import { Routes } from '../../src/cache/routes.ts';
import type { Parts } from '../../src/checks/ask.ts';
import { failures } from '../../src/failures.ts';
import type { FailureKind } from '../../src/failures.ts';
import { Liveness } from '../../src/nats/liveness.ts';
import { RequestServer } from '../../src/nats/serve.ts';
import { startService } from '../../src/nats/service.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { decodeJson } from '../../src/wire/json.ts';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { operationNames } from '../../src/wire/operation.ts';
import { ManualClock } from '../clock.ts';
import { HeldSource } from '../held-source.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';

const prefix = 'test.policy';
const stanzaCheck = {
  v: 1,
  id: 'aaaaaaaaaaaaaaaaaaaaaaaa',
  server: 'node@test',
  budget_ms: 5_000,
  hook: 'send',
  from: 'alice@localhost/phone',
  to: 'bob@localhost',
  kind: 'message',
  type: 'chat',
};

let broker: NatsServer;
let asker: NatsConnection;
const servers: StartedServer[] = [];

beforeAll(async () => {
  broker = await startNatsServer();
  asker = await connect({ servers: broker.url });
});

afterAll(async () => {
  await asker.close();
  await broker.stop();
});

afterEach(async () => {
  for (const one of servers.splice(0)) await one.close();
});

interface StartedServer {
  readonly nats: NatsConnection;
  readonly source: HeldSource;
  readonly server: RequestServer;
  readonly clock: ManualClock;
  close(): Promise<void>;
}

async function startServer({ maxInFlight = 100, url = broker.url } = {}): Promise<StartedServer> {
  const clock = new ManualClock();
  const nats = await connect({ servers: url });
  const order = new ChangeOrder();
  const source = new HeldSource();
  const proof = new Proof(order, clock, 2_000);
  const recent = new RecentChanges(order, clock, 0);
  const route = {
    ttl_ms: 60_000,
    fallback: 'fail' as const,
    unproved_ms: 0,
    sources: { localhost: { source: 'held' } },
  };
  const parts: Parts = {
    routes: new Routes(
      {
        'stanza-check': route,
        'join-check': route,
        'session-check': route,
        'roster-refresh': route,
        'roster-set': route,
        'roster-subscription': route,
        'user-removed': { sources: {} },
      },
      new Map([['held', source]]),
    ),
    decisions: new Decisions(100, { order, proof, recent, clock }),
    rosters: new Rosters(100, { order, proof, recent, clock }),
    order,
    proof,
    clock,
    log: pino({ level: 'silent' }),
    stopping: new AbortController().signal,
    publish: async (change) => {
      order.hear(change);
      return 0;
    },
  };
  const liveness = new Liveness(clock, () => nats.flush());
  const server = new RequestServer({ nats, prefix, parts, clock, liveness, log: parts.log, maxInFlight });
  server.start();
  const data = { worker: () => ({ prefix }), endpoint: (operation: string) => ({ about: operation }) };
  const service = startService({ nats, prefix, id: `w${servers.length}`, version: '1.2.3', stats: server.stats, data });
  await nats.flush();
  const started = {
    nats,
    source,
    server,
    clock,
    close: async () => {
      if (nats.isClosed()) return;
      service.stop();
      await nats.close();
    },
  };
  servers.push(started);
  return started;
}

const ask = (payload: object, operation = 'stanza-check') =>
  asker.request(`${prefix}.${operation}`, encodeMessagePack(payload), { timeout: 5_000 });

const reply = (message: Msg) => decodeMessagePack(message.data);

function expectFailure(message: Msg, kind: FailureKind): void {
  expect(reply(message)).toMatchObject({ v: 1, failure: kind, text: failures[kind].text });
  expect(message.headers?.get('Nats-Service-Error')).toBe(failures[kind].text);
  expect(message.headers?.get('Nats-Service-Error-Code')).toBe(String(failures[kind].code));
}

describe('the dispatcher', () => {
  it('answers in MessagePack what was asked in MessagePack, and repeats the id', async () => {
    const { source } = await startServer();
    const asking = ask(stanzaCheck);
    await source.untilAsked(1);
    source.asked[0]?.answer({ decision: { verdict: 'deny', reason: 'blocked' }, scope: 'pair' });
    expect(reply(await asking)).toEqual({
      v: 1,
      id: stanzaCheck.id,
      seq: 0,
      age_ms: 0,
      verdict: 'deny',
      reason: 'blocked',
      ttl_ms: 60_000,
      scope: 'pair',
    });
  });

  it('answers in JSON what was asked in JSON, white space first or not', async () => {
    const { source } = await startServer();
    const asking = asker.request(`${prefix}.stanza-check`, ` \n${JSON.stringify(stanzaCheck)}`, { timeout: 5_000 });
    await source.untilAsked(1);
    source.asked[0]?.answer({ decision: { verdict: 'allow' }, scope: 'pair' });
    expect(decodeJson((await asking).data)).toMatchObject({ id: stanzaCheck.id, verdict: 'allow' });
  });

  it('answers the second question from memory', async () => {
    const { source } = await startServer();
    const asking = ask(stanzaCheck);
    await source.untilAsked(1);
    source.asked[0]?.answer({ decision: { verdict: 'allow' }, scope: 'pair' });
    await asking;
    expect(reply(await ask({ ...stanzaCheck, id: 'b', from: 'ALICE@localhost/desk' }))).toMatchObject({
      id: 'b',
      verdict: 'allow',
    });
    expect(source.asked).toHaveLength(1);
  });

  const malformed: [string, Uint8Array][] = [
    ['nothing', new Uint8Array()],
    ['a byte that MessagePack never uses', Uint8Array.of(0xc1)],
    ['a list', encodeMessagePack([1, 2])],
    ['a truncated map', encodeMessagePack(stanzaCheck).subarray(0, 40)],
    ['another version', encodeMessagePack({ ...stanzaCheck, v: 2 })],
    ['no sender', encodeMessagePack({ ...stanzaCheck, from: undefined })],
    ['a sender that is no JID', encodeMessagePack({ ...stanzaCheck, from: '@localhost' })],
    ['an unknown hook', encodeMessagePack({ ...stanzaCheck, hook: 'sideways' })],
    ['a budget that is a text', encodeMessagePack({ ...stanzaCheck, budget_ms: '250' })],
    ['a negative budget', encodeMessagePack({ ...stanzaCheck, budget_ms: -1 })],
  ];
  it.each(malformed)('answers bad-request to %s', async (_what, bytes) => {
    await startServer();
    expectFailure(await asker.request(`${prefix}.stanza-check`, bytes, { timeout: 5_000 }), 'bad-request');
  });

  it('answers bad-request in JSON to broken JSON', async () => {
    await startServer();
    const answer = await asker.request(`${prefix}.join-check`, '{"v":1,', { timeout: 5_000 });
    expect(decodeJson(answer.data)).toMatchObject({ failure: 'bad-request' });
  });

  it('answers too-large to what is larger than any request, whatever the broker carries', async () => {
    const generous = await startNatsServer({ extraConfig: 'max_payload: 8MB' });
    const other = await connect({ servers: generous.url });
    const { nats } = await startServer({ url: generous.url });
    try {
      const message = await other.request(`${prefix}.stanza-check`, new Uint8Array(1024 * 1024 + 1), {
        timeout: 5_000,
      });
      expectFailure(message, 'too-large');
    } finally {
      await nats.close();
      await other.close();
      await generous.stop();
    }
  });

  it('repeats the id of a request that is bad otherwise', async () => {
    await startServer();
    expect(reply(await ask({ ...stanzaCheck, to: 'a@b@c' }))).toMatchObject({ id: stanzaCheck.id });
  });

  it('whatever arrives on whatever subject is answered, over one connection that stays', async () => {
    const { nats, server } = await startServer();
    const subject = fc.constantFrom(...operationNames);
    await fc.assert(
      fc.asyncProperty(subject, fc.uint8Array({ maxLength: 300 }), async (operation, bytes) => {
        expectFailureOfAnyEncoding(await asker.request(`${prefix}.${operation}`, bytes, { timeout: 5_000 }));
      }),
      { numRuns: 300 },
    );
    expect(nats.isClosed()).toBe(false);
    expect(Object.values(server.stats).reduce((sum, { failures: { internal } }) => sum + internal, 0)).toBe(0);
  });

  it('answers source-unavailable when the source fails, and internal when the worker does', async () => {
    const { source } = await startServer();
    const first = ask(stanzaCheck);
    await source.untilAsked(1);
    source.asked[0]?.fail(new SourceUnavailable('unreachable', 'secret detail'));
    const unavailable = await first;
    expectFailure(unavailable, 'source-unavailable');
    expect(JSON.stringify(reply(unavailable))).not.toContain('secret');
    const second = ask(stanzaCheck);
    await source.untilAsked(2);
    source.asked[1]?.fail(new TypeError('a bug'));
    expectFailure(await second, 'internal');
  });

  it('answers source-unavailable for a domain without a source', async () => {
    await startServer();
    expectFailure(await ask({ ...stanzaCheck, from: 'alice@elsewhere.example/x' }), 'source-unavailable');
  });

  it('answers before the budget ends when the source is slow, and remembers what comes afterwards', async () => {
    const { source } = await startServer();
    const asking = ask({ ...stanzaCheck, budget_ms: 30 });
    await source.untilAsked(1);
    expectFailure(await asking, 'source-unavailable');
    source.asked[0]?.answer({ decision: { verdict: 'drop' }, scope: 'pair' });
    expect(reply(await ask(stanzaCheck))).toMatchObject({ verdict: 'drop' });
  });

  it('answers expired when the event loop was not alive during the budget', async () => {
    const { clock, source } = await startServer();
    clock.advance(251);
    expectFailure(await ask({ ...stanzaCheck, budget_ms: 250 }), 'expired');
    expect(source.asked).toHaveLength(0);
  });

  it('answers overloaded beyond its bound, at once, and goes on when there is room', async () => {
    const { source } = await startServer({ maxInFlight: 1 });
    const first = ask(stanzaCheck);
    await source.untilAsked(1);
    expectFailure(await ask({ ...stanzaCheck, to: 'carol@localhost' }), 'overloaded');
    source.asked[0]?.answer({ decision: { verdict: 'allow' }, scope: 'none' });
    await first;
    const third = ask({ ...stanzaCheck, to: 'carol@localhost' });
    await source.untilAsked(2);
    source.asked[1]?.answer({ decision: { verdict: 'allow' }, scope: 'none' });
    expect(reply(await third)).toMatchObject({ verdict: 'allow' });
  });

  it('never publishes to a reply subject that is no inbox', async () => {
    const { nats, server } = await startServer();
    const heard: string[] = [];
    const spy = asker.subscribe('test.>', { callback: (_error, message) => heard.push(message.subject) });
    for (const subject of ['test.invalidate', '_INBOX', 'test._INBOX.x']) {
      asker.publish(`${prefix}.stanza-check`, encodeMessagePack(stanzaCheck), { reply: subject });
    }
    // The connection keeps its order: once a later question is answered, the earlier ones have been read.
    expectFailure(await ask({ v: 1 }), 'bad-request');
    await nats.flush();
    await asker.flush();
    expect(server.refusedReplySubjects).toBe(3);
    expect(heard.filter((subject) => !subject.startsWith(prefix))).toEqual([]);
    spy.unsubscribe();
  });

  it('two workers share the questions and each is answered once', async () => {
    const [one, two] = [await startServer(), await startServer()];
    const inbox = createInbox();
    let answers = 0;
    const subscription = asker.subscribe(inbox, { callback: () => (answers += 1) });
    for (let index = 0; index < 200; index += 1) asker.publish(`${prefix}.stanza-check`, 'x', { reply: inbox });
    await asker.flush();
    await one.nats.flush();
    await two.nats.flush();
    await asker.flush();
    expect(answers).toBe(200);
    const counts = [one, two].map(({ server }) => server.stats['stanza-check'].latency.count);
    expect(counts[0]).toBeGreaterThan(0);
    expect(counts[1]).toBeGreaterThan(0);
    subscription.unsubscribe();
  });

  it('stopping leaves the queue group first and answers what is in flight', async () => {
    const [leaving, staying] = [await startServer(), await startServer()];
    const asking: Promise<Msg>[] = [];
    while (leaving.source.asked.length === 0) {
      asking.push(ask({ ...stanzaCheck, to: `user${asking.length}@localhost` }));
      await Promise.race([leaving.source.untilAsked(1), staying.source.untilAsked(asking.length)]);
    }
    const stopping = leaving.server.stop(10_000);
    // A question that comes once the group was left goes to the other worker.
    await leaving.nats.flush();
    const before = staying.source.asked.length;
    const later = ask({ ...stanzaCheck, to: 'later@localhost' });
    await staying.source.untilAsked(before + 1);
    for (const { answer } of [...leaving.source.asked, ...staying.source.asked]) {
      answer({ decision: { verdict: 'allow' }, scope: 'pair' });
    }
    await stopping;
    await leaving.close();
    for (const message of await Promise.all([...asking, later]))
      expect(reply(message)).toMatchObject({ verdict: 'allow' });
  });

  it('answers too-large when a roster does not fit the payload of the broker', async () => {
    const { source } = await startServer();
    const asking = ask({ ...stanzaCheck, users: ['alice@localhost'], reason: 'changed' }, 'roster-refresh');
    await source.untilAsked(1);
    const items = Array.from({ length: 20_000 }, (_none, index) => ({
      jid: `contact-with-a-long-name-${index}@localhost`,
      name: 'x'.repeat(50),
      subscription: 'both' as const,
      groups: [],
    }));
    source.askedRosters[0]?.answer({ items, pending: [], problems: [] });
    expectFailure(await asking, 'too-large');
  });

  it('is listed by the tools of NATS with the figures that it measured', async () => {
    await startServer();
    await ask({ v: 1 });
    const info = (await asker.request('$SRV.INFO.warder', '')).json();
    const answer = { name: 'warder', version: '1.2.3', data: { prefix } };
    expect(info).toMatchObject({ type: 'io.nats.micro.v1.info_response', ...answer });
    const stats = (await asker.request('$SRV.STATS.warder', '')).json<{ endpoints: Record<string, unknown>[] }>();
    const endpoint = stats.endpoints.find(({ name }) => name === 'stanza-check');
    expect(endpoint).toMatchObject({
      subject: `${prefix}.stanza-check`,
      queue_group: 'warder',
      num_requests: 1,
      num_errors: 1,
      data: { about: 'stanza-check' },
    });
    expect((await asker.request('$SRV.PING', '')).json()).toMatchObject({ name: 'warder' });
  });
});

function expectFailureOfAnyEncoding(message: Msg): void {
  const text = message.headers?.get('Nats-Service-Error');
  expect(text).toBe(failures['bad-request'].text);
}
