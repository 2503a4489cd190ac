/** Push paths on Prosody's own HTTP port: who may, what is asked of the workers, and that every body gets an answer. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { freePort } from './free-port.ts';
import { startScene } from './policy-scene.ts';
import type { Scene } from './policy-scene.ts';
import { startResponder } from './responder.ts';
import type { Asked, Responder } from './responder.ts';

let scene: Scene;
let responder: Responder;
let nats: NatsConnection;
let port: number;

/** An address of this machine that is not loopback, if it has one. */
const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

beforeAll(async () => {
  port = await freePort();
  scene = await startScene({
    options: `
http_ports = { ${port} }
http_interfaces = { "*" }
http_default_host = "localhost"
trusted_proxies = { "127.0.0.1", "10.0.0.1" }
warder_checks = {}
warder_push_paths = true
warder_push_token = "s3cret"`,
    further: `
VirtualHost "tokenless.test"
modules_enabled = { "warder" }
warder_push_token = ""`,
  });
  ({ responder } = scene);
  nats = await connect({ servers: scene.broker.url });
});

afterAll(async () => {
  await nats?.close();
  await scene?.stop();
});

beforeEach(() => responder.reset());

interface Sent {
  readonly status: number;
  readonly body: unknown;
}

async function post(
  path: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
  at = '127.0.0.1',
): Promise<Sent> {
  const response = await fetch(`http://${at}:${port}${path}`, { method: 'POST', body, headers });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? (JSON.parse(text) as unknown) : text };
}

/** `fetch` lets nobody choose the Host header. */
async function statusAt(host: string, headers: Readonly<Record<string, string>>): Promise<number | undefined> {
  const sent = request({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/roster_admin/refresh',
    headers: { host, ...headers },
  });
  sent.end('[]');
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

const refresh = (body: string, headers?: Readonly<Record<string, string>>): Promise<Sent> =>
  post('/roster_admin/refresh', body, headers);

/** A worker's answer: no rosters, and those users failed. */
function refreshed(asked: Asked, failing: readonly string[] = []): Record<string, unknown> {
  const users = asked['users'] as string[];
  const failed = Object.fromEntries(users.filter((user) => failing.includes(user)).map((user) => [user, 'gone']));
  const errors = Object.keys(failed).length;
  const updated = users.length - errors;
  const message = updated === 0 ? 'no roster could be had' : 'roster update complete';
  return { status: updated === 0 ? 'error' : 'ok', message, updated, errors, rosters: {}, failed };
}

describe('POST /roster_admin/refresh', () => {
  it('asks for user names of this host and for bare JIDs, and answers as mod_http_roster_admin does', async () => {
    responder.on('roster-refresh', (asked) => refreshed(asked));

    expect(await refresh('["alice", "bob@elsewhere.test"]')).toEqual({
      status: 200,
      body: { status: 'ok', message: 'roster update complete', updated: 2, errors: 0 },
    });
    expect(responder.of('roster-refresh')).toHaveLength(1);
    expect(responder.of('roster-refresh')[0]).toMatchObject({
      users: ['alice@localhost', 'bob@elsewhere.test'],
      reason: 'admin',
    });
  });

  it('sums many users over batches of a hundred, of which few are asked at once', async () => {
    let underWay = 0;
    let highest = 0;
    responder.on('roster-refresh', async (asked) => {
      underWay += 1;
      highest = Math.max(highest, underWay);
      await nats.flush();
      underWay -= 1;
      return refreshed(asked, ['user7@localhost', 'user1203@localhost']);
    });
    const users = Array.from({ length: 1_250 }, (_, n) => `user${n}`);
    const { status, body } = await refresh(JSON.stringify(users));

    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'ok', updated: 1_248, errors: 2 });
    expect(body).toHaveProperty('failed', { 'user7@localhost': 'gone', 'user1203@localhost': 'gone' });
    expect(responder.of('roster-refresh')).toHaveLength(13);
    expect(responder.of('roster-refresh').flatMap((asked) => asked['users'] as string[])).toHaveLength(1_250);
    expect(highest).toBeLessThanOrEqual(4);
  });

  it('says error when all failed, and asks for nobody when nobody is named', async () => {
    responder.on('roster-refresh', (asked) => refreshed(asked, ['alice@localhost']));
    expect((await refresh('["alice"]')).body).toMatchObject({ status: 'error', updated: 0, errors: 1 });
    responder.reset();

    expect(await refresh('[]')).toEqual({
      status: 200,
      body: { status: 'ok', message: 'roster update complete', updated: 0, errors: 0 },
    });
    expect(responder.of('roster-refresh')).toEqual([]);
  });

  it('counts what is too long for a JID, and asks for the others', async () => {
    responder.on('roster-refresh', (asked) => refreshed(asked));

    expect((await refresh(JSON.stringify(['x'.repeat(4_000), 'bob']))).body).toMatchObject({ updated: 1, errors: 1 });
    expect(responder.of('roster-refresh')[0]?.['users']).toEqual(['bob@localhost']);
  });

  const malformed = [
    '',
    ' ',
    '{bad',
    'null',
    'false',
    '{}',
    '"alice"',
    '5',
    '["alice", 5]',
    '["alice", null]',
    '[["alice"]]',
    '["alice"',
    '["\\ud800"',
    '\u0000',
  ];

  it.each(malformed)('answers 400 to %j and asks for nobody', async (body) => {
    const { status, body: answer } = await refresh(body);

    expect(status).toBe(400);
    expect(answer).toMatchObject({ status: 'error' });
    expect(responder.of('roster-refresh')).toEqual([]);
  });

  const failures: [string, () => Record<string, unknown> | Uint8Array][] = [
    ['fail', () => ({ failure: 'source-unavailable', text: '' })],
    ['answer rubbish', () => new Uint8Array([0xc1])],
  ];

  it.each(failures)('answers error when the workers %s', async (_what, answer) => {
    responder.on('roster-refresh', answer);

    const { status, body } = await refresh('["alice", "bob"]');
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'error', updated: 0, errors: 2 });
  });

  it('answers error at once for everybody when no worker is there', async () => {
    await responder.stop();
    const users = Array.from({ length: 1_000 }, (_, n) => `user${n}`);
    const { body } = await refresh(JSON.stringify(users));
    responder = await startResponder(scene.broker.url);

    expect(body).toMatchObject({ status: 'error', updated: 0, errors: 1_000 });
    expect(body).toHaveProperty('message', expect.stringMatching(/no-responders/));
  });
});

describe('POST /mod_msg_filter/', () => {
  let flushed: unknown[];
  let answer: (asked: Record<string, unknown>) => Record<string, unknown>;

  beforeAll(() => {
    nats.subscribe('xmpp.policy.v1.ctl.flush', {
      callback: (_error, message) => {
        const asked = decodeMessagePack(message.data);
        flushed.push(asked);
        message.respond(encodeMessagePack(answer(asked)));
      },
    });
  });

  beforeEach(() => {
    flushed = [];
    answer = () => ({ v: 1, seq: 1_700_000_000_001 });
  });

  it.each([
    ['<flush jid="Alice@Localhost"/>'],
    ['<flush jid="alice@localhost">'],
    ["\n<flush jid='alice@localhost'></flush>\n"],
  ])('passes %s on to a worker and answers the number of the change', async (body) => {
    expect(await post('/mod_msg_filter/', body)).toEqual({
      status: 200,
      body: { status: 'ok', token: 1_700_000_000_001 },
    });
    expect(flushed).toEqual([{ v: 1, user: 'alice@localhost' }]);
  });

  it('works without the slash at the end', async () => {
    expect((await post('/mod_msg_filter', '<flush jid="alice@localhost"/>')).status).toBe(200);
  });

  const malformed = [
    '',
    'flush',
    '<flush/>',
    '<flush jid="alice@localhost/phone"/>',
    '<flush jid="@"/>',
    '<gush jid="a@b"/>',
    '<flush jid="a@b"',
    '<!DOCTYPE x><flush jid="a@b"/>',
    '<flush jid="a@b"/><flush jid="c@d"/>',
    '\u0000',
  ];

  it.each(malformed)('answers 400 to %j and flushes nothing', async (body) => {
    expect((await post('/mod_msg_filter/', body)).status).toBe(400);
    expect(flushed).toEqual([]);
  });

  it('answers 413 to what is too long, and 503 to what could not be published', async () => {
    expect((await post('/mod_msg_filter/', `<flush jid="${'a'.repeat(20_000)}@b"/>`)).status).toBe(413);
    answer = () => ({ v: 1, failure: 'source-unavailable', text: '' });
    expect((await post('/mod_msg_filter/', '<flush jid="alice@localhost"/>')).status).toBe(503);
  });
});

describe('who may push', () => {
  const authorized = { authorization: 'Bearer s3cret' };
  const forwarded = ['Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Real-IP', 'Via'];

  it.each(forwarded)('is not this machine when a proxy has forwarded it, as %s says', async (name) => {
    expect((await refresh('[]', { [name]: '127.0.0.1' })).status).toBe(401);
    expect((await refresh('[]', { [name]: '127.0.0.1', ...authorized })).status).toBe(200);
  });

  it.each([['Bearer wrong'], ['Bearer '], ['Basic s3cret'], ['s3cret'], ['Bearer s3cret more']])(
    'is not who sends %j',
    async (authorization) => {
      const sent = await post('/mod_msg_filter/', '<flush jid="a@b"/>', { authorization, via: 'proxy' });
      expect(sent.status).toBe(401);
      expect(sent.body).toMatchObject({ status: 'error' });
    },
  );

  it('is nobody but this machine where no token is configured', async () => {
    await scene.prosody.waitForOutput(/tokenless\.test:warder\s+error\s+warder_push_token: it should be letters/);
    expect(await statusAt('tokenless.test', {})).toBe(200);
    expect(await statusAt('tokenless.test', { via: 'proxy' })).toBe(403);
    expect(await statusAt('tokenless.test', { via: 'proxy', ...authorized })).toBe(403);
  });

  it.runIf(outside !== undefined)('is from elsewhere only who has the token', async () => {
    expect((await post('/roster_admin/refresh', '[]', {}, outside)).status).toBe(401);
    expect((await post('/roster_admin/refresh', '[]', authorized, outside)).status).toBe(200);
  });
});

it('nothing in all this went wrong inside Prosody', () => {
  expect(scene.prosody.output()).not.toMatch(/[Tt]raceback/);
});
