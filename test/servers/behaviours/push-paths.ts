/** Push paths on a real server's own HTTP port: who may, what is asked of the workers, and that every body gets an answer. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { once } from 'node:events';
import { request as send } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { networkInterfaces } from 'node:os';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeMessagePack, encodeMessagePack } from '../../../src/wire/messagepack.ts';
import { freePort } from '../free-port.ts';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import { startResponder } from '../responder.ts';
import type { Asked, Responder } from '../responder.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

/** An address of this machine that is not loopback, if it has one. */
const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

/** @returns the port at which all this is served, for what is left to be asked of it */
export function servePushPaths(kind: ServerKind): () => number {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let nats: NatsConnection;
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    scene = await startSceneOn(kind, {
      httpPort: port,
      policy: { checks: [] },
      furtherHosts: [{ host: 'guarded.test', policy: { pushToken: 's3cret' } }],
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
    readonly status: number | undefined;
    readonly headers: IncomingMessage['headers'];
    readonly body: unknown;
  }

  interface Given {
    /** The Host header, which `fetch` lets nobody choose. */
    readonly host?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly at?: string;
    readonly method?: string;
  }

  async function post(path: string, body: string, given: Given = {}): Promise<Sent> {
    const { host = 'localhost', headers, at = '127.0.0.1', method = 'POST' } = given;
    const length = String(Buffer.byteLength(body));
    const sent = send({ port, host: at, method, path, headers: { host, 'content-length': length, ...headers } });
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const answer = await text(response);
    return {
      status: response.statusCode,
      headers: response.headers,
      body: answer.startsWith('{') ? (JSON.parse(answer) as unknown) : answer,
    };
  }

  const refresh = (body: string, given?: Given): Promise<Sent> => post('/roster_admin/refresh', body, given);

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

      expect(await refresh('["alice", "bob@elsewhere.test"]')).toMatchObject({
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: { status: 'ok', message: 'roster update complete', updated: 2, errors: 0 },
      });
      expect(responder.of('roster-refresh')).toHaveLength(1);
      expect(responder.of('roster-refresh')[0]).toMatchObject({
        users: ['alice@localhost', 'bob@elsewhere.test'],
        reason: 'admin',
      });
    });

    it.each([
      ['guarded.test', 'alice@guarded.test'],
      ['guarded.test:8080', 'alice@guarded.test'],
      ['10.0.0.1', 'alice@localhost'],
    ])('takes user names to be of the host that the request names, or of the first: %s', async (host, user) => {
      responder.on('roster-refresh', (asked) => refreshed(asked));

      expect((await refresh('["alice"]', { host })).body).toMatchObject({ status: 'ok', updated: 1 });
      expect(responder.of('roster-refresh')[0]).toMatchObject({ users: [user] });
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
      const [{ status, body }, other] = await Promise.all([refresh(JSON.stringify(users)), refresh('["alice"]')]);

      expect(status).toBe(200);
      expect(body).toMatchObject({ status: 'ok', updated: 1_248, errors: 2 });
      expect(body).toHaveProperty('failed', { 'user7@localhost': 'gone', 'user1203@localhost': 'gone' });
      expect(other.body).toMatchObject({ status: 'ok', updated: 1 });
      expect(responder.of('roster-refresh')).toHaveLength(14);
      expect(responder.of('roster-refresh').flatMap((asked) => asked['users'] as string[])).toHaveLength(1_251);
      expect(highest).toBeLessThanOrEqual(4);
    });

    it('says error when all failed, and asks for nobody when nobody is named', async () => {
      responder.on('roster-refresh', (asked) => refreshed(asked, ['alice@localhost']));
      expect((await refresh('["alice"]')).body).toMatchObject({ status: 'error', updated: 0, errors: 1 });
      responder.reset();

      expect(await refresh('[]')).toMatchObject({
        status: 200,
        body: { status: 'ok', message: 'roster update complete', updated: 0, errors: 0 },
      });
      expect(responder.of('roster-refresh')).toEqual([]);
    });

    it('counts what is too long for a JID, and asks for the others', async () => {
      responder.on('roster-refresh', (asked) => refreshed(asked));

      const { body } = await refresh(JSON.stringify(['x'.repeat(4_000), 'bob']));
      expect(body).toMatchObject({ updated: 1, errors: 1 });
      expect(responder.of('roster-refresh')[0]?.['users']).toEqual(['bob@localhost']);
    });

    it('answers 400 to nothing at all', async () => {
      expect((await refresh('')).status).toBe(400);
    });

    const malformed = [
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
      expect(await post('/mod_msg_filter/', body)).toMatchObject({
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

    it('changes nothing when it is only looked at', async () => {
      const { status } = await post('/mod_msg_filter/', '<flush jid="alice@localhost"/>', { method: 'PUT' });
      expect([404, 405]).toContain(status);
      expect(flushed).toEqual([]);
    });
  });

  describe('who may push', () => {
    const guarded = { host: 'guarded.test' };
    const authorized = { authorization: 'Bearer s3cret' };
    const forwarded = ['Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Real-IP', 'Via'];

    it.each(forwarded)('is not this machine when a proxy has forwarded it, as %s says', async (name) => {
      expect((await refresh('[]', { ...guarded, headers: { [name]: '127.0.0.1' } })).status).toBe(401);
      expect((await refresh('[]', { ...guarded, headers: { [name]: '127.0.0.1', ...authorized } })).status).toBe(200);
    });

    it.each([['Bearer wrong'], ['Bearer '], ['Basic s3cret'], ['s3cret'], ['Bearer s3cret more']])(
      'is not who sends %j',
      async (authorization) => {
        const headers = { authorization, via: 'proxy' };
        const sent = await post('/mod_msg_filter/', '<flush jid="a@b"/>', { ...guarded, headers });
        expect(sent.status).toBe(401);
        expect(sent.headers['www-authenticate']).toBe('Bearer');
        expect(sent.body).toMatchObject({ status: 'error' });
      },
    );

    it('is nobody but this machine where no token is configured', async () => {
      expect((await refresh('[]')).status).toBe(200);
      expect((await refresh('[]', { headers: { via: 'proxy' } })).status).toBe(403);
      expect((await refresh('[]', { headers: { via: 'proxy', ...authorized } })).status).toBe(403);
    });

    it.runIf(outside !== undefined)('is from elsewhere only who has the token', async () => {
      const at = outside ?? '';
      expect((await refresh('[]', { ...guarded, at })).status).toBe(401);
      expect((await refresh('[]', { ...guarded, at, headers: authorized })).status).toBe(200);
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });

  return () => port;
}
