/** That what a real worker says on every subject is what docs/asyncapi.yaml says of it. */
import { connect } from 'nats';
import type { Msg, NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestName, replyName } from '../../src/asyncapi/messages.ts';
import { decodePayload } from '../../src/wire/codec.ts';
import { encodingOf } from '../../src/wire/encoding.ts';
import { encodeMessagePack } from '../../src/wire/messagepack.ts';
import type { Operation } from '../../src/wire/operation.ts';
import { headerProblemsOf, problemsOf } from '../asyncapi/validators.ts';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const prefix = 'xmpp.policy.v1';
let broker: NatsServer;
let application: Application;
let worker: WorkerProcess;
let asker: NatsConnection;

beforeAll(async () => {
  broker = await startNatsServer({ jetstream: true });
  application = await startApplication();
  worker = await startWorkerProcess(
    broker.url,
    `
operations:
  stanza-check: { sources: app, fallback: defer }
  join-check: { sources: app }
  session-check: { sources: app }
  roster-refresh: { sources: app }
  roster-set: { sources: app }
  roster-subscription: { sources: app }
  user-removed: { sources: app }
sources:
  app: { type: http, url: "${application.url}/" }
`,
  );
  asker = await connect({ servers: broker.url });
});

afterAll(async () => {
  await asker.close();
  await worker.stop();
  await application.stop();
  await broker.stop();
});

const envelope = { v: 1, id: 'a-question', server: 'node@test', budget_ms: 5_000 };
const stanzaCheck = { hook: 'send', from: 'alice@localhost/phone', to: 'bob@localhost', kind: 'message', type: 'chat' };
const stanza = '<message xmlns="jabber:client" to="bob@localhost" type="chat" id="1"><body>hi</body></message>';
const joinCheck = { user: 'alice@localhost/phone', room: 'lobby@rooms.localhost', nick: 'alice', event: 'join' };

function read(message: Msg): Record<string, unknown> {
  return decodePayload(message.data, encodingOf(message.data));
}

/** What the headers of a message are, each with its last value. */
function headersOf({ headers }: Msg): Record<string, string | undefined> {
  return Object.fromEntries((headers?.keys() ?? []).map((key) => [key, headers?.values(key).at(-1)]));
}

async function ask(operation: Operation, fields: Record<string, unknown>): Promise<Msg> {
  const request = { ...envelope, ...fields };
  expect(problemsOf(requestName(operation), request)).toEqual([]);
  return asker.request(`${prefix}.${operation}`, encodeMessagePack(request), { timeout: 5_000 });
}

describe('a worker says what its document says', () => {
  it.each([
    ['allow', { verdict: 'allow', ttl_ms: 1_000, scope: 'pair' }],
    ['deny', { verdict: 'deny', error: { type: 'auth', condition: 'forbidden', text: 'no' }, reason: 'blocked' }],
    ['drop', { verdict: 'drop', notify: '<message><body>someone tried</body></message>' }],
    ['modify', { verdict: 'modify', stanza: stanza.replace('hi', 'ho') }],
  ])('of a stanza: %s', async (verdict, answer) => {
    application.answer(json(answer));
    const reply = read(await ask('stanza-check', { ...stanzaCheck, from: `${verdict}@localhost/phone`, stanza }));
    expect(reply).toMatchObject({ verdict });
    expect(problemsOf(replyName('stanza-check'), reply)).toEqual([]);
  });

  it('of a stanza when its source fails, which is its fallback', async () => {
    application.answer(json('no decision'));
    const reply = read(await ask('stanza-check', { ...stanzaCheck, from: 'carol@localhost/phone', stanza }));
    expect(reply).toMatchObject({ verdict: 'defer', degraded: 'source-unavailable' });
    expect(problemsOf(replyName('stanza-check'), reply)).toEqual([]);
  });

  it('of joins and sessions', async () => {
    application.answer(json({ verdict: 'deny' }));
    const join = read(await ask('join-check', joinCheck));
    const session = read(await ask('session-check', { user: 'alice@localhost/phone', ip: '127.0.0.1', tls: true }));
    for (const reply of [join, session]) {
      expect(reply).toMatchObject({ verdict: 'deny' });
      expect(problemsOf('decision-reply', reply)).toEqual([]);
    }
  });

  it('of rosters, those that are there and those that are not', async () => {
    const items = [{ jid: 'bob@localhost', subscription: 'both', groups: ['Friends'] }, { jid: 'carol@localhost' }];
    application.answer(json({ items, pending: [{ jid: 'dave@localhost', text: 'hello' }] }));
    const reply = read(await ask('roster-refresh', { users: ['alice@localhost', '@'], reason: 'login' }));
    expect(reply).toMatchObject({ status: 'ok', updated: 1, errors: 1 });
    expect(problemsOf(replyName('roster-refresh'), reply)).toEqual([]);
  });

  it.each<[Operation, object, object]>([
    ['roster-set', { name: 'Bob', groups: ['Friends'] }, { verdict: 'modify', item: { name: 'Robert' } }],
    ['roster-set', { remove: true }, { verdict: 'deny', error: { condition: 'not-allowed' } }],
    ['roster-subscription', { direction: 'in', action: 'subscribe', text: 'me!' }, { verdict: 'drop' }],
  ])('of a change of a roster: %s with %j', async (operation, change, answer) => {
    application.answer(json(answer));
    const reply = read(await ask(operation, { user: 'alice@localhost', contact: 'bob@localhost', ...change }));
    expect(reply).toMatchObject(answer);
    expect(problemsOf(replyName(operation), reply)).toEqual([]);
  });

  it('of an account that is gone', async () => {
    application.answer(json({}));
    const reply = read(await ask('user-removed', { user: 'alice@localhost' }));
    expect(reply).toMatchObject({ forgotten: true });
    expect(problemsOf(replyName('user-removed'), reply)).toEqual([]);
  });

  it('of failures, with their headers', async () => {
    application.answer(json('no decision'));
    const unavailable = await ask('join-check', { ...joinCheck, user: 'bob@localhost/phone' });
    const malformed = await asker.request(`${prefix}.join-check`, 'not MessagePack', { timeout: 5_000 });
    expect(read(unavailable)).toMatchObject({ failure: 'source-unavailable' });
    expect(read(malformed)).toMatchObject({ failure: 'bad-request', id: '' });
    for (const message of [unavailable, malformed]) {
      expect(problemsOf('failure-reply', read(message))).toEqual([]);
      expect(headerProblemsOf('failure-reply', headersOf(message))).toEqual([]);
    }
  });

  it('of changes: acknowledged, numbered and republished', async () => {
    const republished = asker.subscribe(`${prefix}.invalidated`);
    const change = { v: 1, user: 'alice@localhost', reason: 'test' };
    const acknowledged = await asker.request(`${prefix}.invalidate`, JSON.stringify(change), { timeout: 5_000 });
    expect(problemsOf('acknowledgement', acknowledged.json())).toEqual([]);
    const { seq } = acknowledged.json<{ seq: number }>();
    for await (const message of republished) {
      const kind = 'tick' in read(message) ? 'tick' : 'change';
      expect(problemsOf(kind, read(message))).toEqual([]);
      expect(headerProblemsOf(`numbered-${kind}`, headersOf(message))).toEqual([]);
      if (headersOf(message)['Nats-Sequence'] === String(seq)) break;
    }
  });

  it('of changes that it publishes for others', async () => {
    const flush = (request: object) =>
      asker.request(`${prefix}.ctl.flush`, encodeMessagePack(request), { timeout: 5_000 });
    expect(problemsOf('flush-request', { v: 1, user: 'alice@localhost' })).toEqual([]);
    expect(problemsOf('flush-reply', read(await flush({ v: 1, user: 'alice@localhost' })))).toEqual([]);
    expect(problemsOf('flush-failure', read(await flush({ v: 1, all: true })))).toEqual([]);
  });

  it('of who is there', async () => {
    const heard = asker.subscribe(`${prefix}.ctl.seen`, { max: 1 });
    for await (const message of heard) expect(problemsOf('seen', read(message))).toEqual([]);
    const members = await asker.request(`${prefix}.ctl.members`, '', { timeout: 5_000 });
    expect(read(members)).toMatchObject({ members: [{ kind: 'worker' }] });
    expect(problemsOf('members', read(members))).toEqual([]);
  });

  it.each(['PING', 'INFO', 'STATS'])('of itself to NATS tools: %s', async (verb) => {
    const report = await asker.request(`$SRV.${verb}.warder`, '', { timeout: 5_000 });
    expect(problemsOf('service-report', report.json())).toEqual([]);
  });
});
