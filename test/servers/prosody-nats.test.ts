import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'nats';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { freePort } from './free-port.ts';
import type { NatsProbe } from './nats-probe.ts';
import { startNatsProbe } from './nats-probe.ts';
import type { NatsServer } from './nats-server.ts';
import { startNatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';

describe("the Prosody hook's NATS client", () => {
  let probe: NatsProbe;
  let clients = 0;
  const opened: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    probe = await startNatsProbe();
  });
  afterAll(async () => {
    await probe.stop();
  });
  afterEach(async () => {
    for (const close of opened.splice(0).toReversed()) await close();
  });

  async function startServer(options?: Parameters<typeof startNatsServer>[0]): Promise<NatsServer> {
    const server = await startNatsServer(options);
    opened.push(() => server.stop());
    return server;
  }

  /** A client that has begun to connect; its commands by name. */
  async function startClient(servers: string | string[], more: Record<string, unknown> = {}) {
    const client = `client${(clients += 1)}`;
    const options = { servers, connect_timeout: 10, ...more };
    expect(await probe.run('connect', { client, options })).toEqual({});
    opened.push(() => probe.run('close', { client }));
    return {
      run: (command: string, parameters: Record<string, unknown> = {}) => probe.run(command, { client, ...parameters }),
      connected: (is = true) => probe.run('until_connected', { client, connected: is }),
      statuses: async () => (await probe.run('state', { client })).statuses ?? [],
      stats: async () => (await probe.run('state', { client })).stats ?? {},
      flush: async () => {
        expect(await probe.run('flush', { client })).toEqual({ error: 'no-responders' });
      },
    };
  }

  /** Resolves when a client has reported an error that matches. */
  async function untilError(client: Awaited<ReturnType<typeof startClient>>, pattern: RegExp): Promise<void> {
    await expect
      .poll(async () => (await client.statuses()).map(String).find((status) => pattern.test(status)), {
        timeout: 20_000,
      })
      .toBeDefined();
  }

  it('connects 20 times out of 20', async () => {
    const server = await startServer();
    for (let i = 0; i < 20; i += 1) {
      const client = await startClient(server.url);
      await client.connected();
      expect(await client.statuses()).toEqual([['connected', `127.0.0.1:${server.port}`, false]]);
    }
  });

  it('resolves the name of a server', async () => {
    const server = await startServer();
    const client = await startClient(`nats://localhost:${server.port}`);
    await client.connected();
    expect(await client.statuses()).toEqual([['connected', `localhost:${server.port}`, false]]);
  });

  it('asks and is answered', async () => {
    const server = await startServer();
    const responder = await connect({ servers: server.url });
    opened.push(() => responder.close());
    const seen: string[] = [];
    responder.subscribe('echo', {
      callback: (_error, message) => {
        seen.push(message.reply ?? '');
        message.respond(`you said ${message.string()}`);
      },
    });
    await responder.flush();
    const client = await startClient(server.url, { inbox: 'probe' });
    await client.connected();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => client.run('request', { subject: 'echo', payload: `n${i}`, timeout: 10 })),
    );
    expect(answers).toEqual(Array.from({ length: 50 }, (_, i) => ({ payload: `you said n${i}` })));
    expect(new Set(seen).size).toBe(50);
    for (const subject of seen) expect(subject).toMatch(/^_INBOX\.probe\.[0-9a-f]{24}\.[0-9a-f]{16}$/);
    expect(await client.stats()).toMatchObject({ pending: 0, connects: 1, messages_out: 50, messages_in: 50 });
  });

  it('learns at once that nobody listens', async () => {
    const client = await startClient((await startServer()).url);
    await client.connected();
    expect(await client.run('request', { subject: 'nobody', payload: '', timeout: 600 })).toEqual({
      error: 'no-responders',
    });
  });

  it('gives up when the time has passed, and takes no answer after it', async () => {
    const server = await startServer();
    const responder = await connect({ servers: server.url });
    opened.push(() => responder.close());
    const late: (() => void)[] = [];
    responder.subscribe('slow', { callback: (_error, message) => late.push(() => message.respond('late')) });
    await responder.flush();
    const client = await startClient(server.url);
    await client.connected();
    expect(await client.run('request', { subject: 'slow', payload: '', timeout: 0.05 })).toEqual({ error: 'timeout' });
    for (const answer of late) answer();
    await responder.flush();
    await client.flush();
    expect(await client.stats()).toMatchObject({ pending: 0, messages_in: 2 });
  });

  it('keeps the values of a header in order', async () => {
    const client = await startClient((await startServer()).url);
    await client.connected();
    await client.run('subscribe', { subject: 'news.*' });
    const headers = [
      ['Nats-Sequence', 'forged'],
      ['Nats-Sequence', '7'],
    ];
    expect(await client.run('publish', { subject: 'news.a', payload: 'x', headers })).toEqual({ ok: true });
    expect(await client.run('publish', { subject: 'news.*', payload: 'x' })).toEqual({ error: 'bad-subject' });
    await client.flush();
    expect(await client.run('messages', { subject: 'news.*' })).toEqual({
      messages: [{ payload: 'x', headers: { 'Nats-Sequence': ['forged', '7'] } }],
    });
    await client.run('unsubscribe', { subject: 'news.*' });
    await client.run('publish', { subject: 'news.b', payload: 'y' });
    await client.flush();
    expect((await client.run('messages', { subject: 'news.*' })).messages).toHaveLength(1);
  });

  it('fails what waits when the server is killed, comes back, and subscribes again', async () => {
    const server = await startServer();
    const client = await startClient(server.url, { reconnect_max: 0.2 });
    await client.connected();
    await client.run('subscribe', { subject: 'quiet' });
    const waiting = client.run('request', { subject: 'quiet', payload: 'before', timeout: 600 });
    await expect.poll(async () => (await client.run('messages', { subject: 'quiet' })).messages).toHaveLength(1);
    await server.kill();
    expect(await waiting).toEqual({ error: 'disconnected' });
    await client.connected(false);
    expect(await client.run('request', { subject: 'quiet', payload: '', timeout: 600 })).toEqual({
      error: 'disconnected',
    });
    expect(await client.run('publish', { subject: 'quiet', payload: '' })).toEqual({ error: 'disconnected' });
    await server.restart();
    await client.connected();
    await client.run('publish', { subject: 'quiet', payload: 'after' });
    await client.flush();
    const { messages } = await client.run('messages', { subject: 'quiet' });
    expect(messages?.map(({ payload }) => payload)).toEqual(['before', 'after']);
    expect(await client.stats()).toMatchObject({ connects: 2, reconnects: 1, disconnects: 1, pending: 0 });
  });

  it('notices a server that stands still', async () => {
    const server = await startServer();
    const client = await startClient(server.url, { ping_interval: 0.1 });
    await client.connected();
    const { client_id: before } = await client.connected();
    await server.pause();
    await client.connected(false);
    expect((await client.statuses())[1]).toEqual(['disconnected', 'no answer to 2 pings']);
    server.resume();
    expect((await client.connected()).client_id).not.toBe(before);
  });

  it('stays connected to a server that has nothing to say', async () => {
    const client = await startClient((await startServer()).url, { ping_interval: 0.02 });
    await client.connected();
    await expect.poll(async () => (await client.stats())['bytes_in'], { timeout: 20_000 }).toBeGreaterThan(1000);
    expect(await client.stats()).toMatchObject({ connects: 1, disconnects: 0 });
  });

  it('goes to another server when the first is down', async () => {
    const up = await startServer();
    for (let i = 0; i < 6; i += 1) {
      const client = await startClient([`nats://127.0.0.1:${await freePort()}`, up.url]);
      await client.connected();
      expect((await client.statuses()).at(-1)).toEqual(['connected', `127.0.0.1:${up.port}`, false]);
    }
  });

  it('goes to another server when its own is killed', async () => {
    const servers = [await startServer(), await startServer()];
    const client = await startClient(servers.map(({ url }) => url).join(','));
    await client.connected();
    const own = String((await client.statuses())[0]?.[1]);
    const [used, spare] = servers.toSorted((one) => (own === `127.0.0.1:${one.port}` ? -1 : 1));
    await used?.kill();
    await expect
      .poll(async () => (await client.statuses()).at(-1), { timeout: 20_000 })
      .toEqual(['connected', `127.0.0.1:${spare?.port}`, true]);
  });

  it('does not send what the broker would cut the connection for', async () => {
    const client = await startClient((await startServer({ extraConfig: 'max_payload: 2048' })).url);
    await client.connected();
    expect(await client.run('request', { subject: 'nobody', size: 2049, timeout: 600 })).toEqual({
      error: 'too-large',
    });
    expect(await client.run('request', { subject: 'nobody', size: 2048, timeout: 600 })).toEqual({
      error: 'no-responders',
    });
    const headers = [['Name', 'value']];
    expect(await client.run('publish', { subject: 'a', payload: 'x'.repeat(2040), headers })).toEqual({
      error: 'too-large',
    });
    expect(await client.run('state')).toMatchObject({ max_payload: 2048, stats: { connects: 1, disconnects: 0 } });
  });

  describe('with credentials', () => {
    const password = 'pa:ss@w%rd';
    const inUrl = encodeURIComponent(password);

    it('logs in with user and password, in the URL or beside it', async () => {
      const server = await startServer({ extraConfig: `authorization { user: me, password: "${password}" }` });
      await (await startClient(`nats://me:${inUrl}@127.0.0.1:${server.port}`)).connected();
      await (await startClient(`127.0.0.1:${server.port}`, { user: 'me', password })).connected();
    });

    it('logs in with a token, in the URL or beside it', async () => {
      const server = await startServer({ extraConfig: 'authorization { token: s3cret }' });
      await (await startClient(`nats://s3cret@127.0.0.1:${server.port}`)).connected();
      await (await startClient(server.url, { token: 's3cret' })).connected();
    });

    it('says why it is refused, goes on trying, and names no password', async () => {
      const server = await startServer({ extraConfig: 'authorization { user: me, password: right }' });
      const client = await startClient(`nats://me:wrong-one@127.0.0.1:${server.port}`);
      await untilError(client, /Authorization Violation/);
      expect(await client.run('request', { subject: 'a', payload: '', timeout: 600 })).toEqual({
        error: 'disconnected',
      });
      expect(await client.stats()).toMatchObject({ connects: 0, disconnects: 0 });
      expect(JSON.stringify(await client.statuses())).not.toContain('wrong-one');
    });

    it('names the subject that it is not permitted, and stays connected', async () => {
      const permissions = 'permissions { publish: ["allowed", "_INBOX.>"], subscribe: ["_INBOX.probe.>"] }';
      const server = await startServer({
        extraConfig: `authorization { users: [{ user: me, password: pw, ${permissions} }] }`,
      });
      const client = await startClient(`nats://me:pw@127.0.0.1:${server.port}`, { inbox: 'probe' });
      await client.connected();
      await client.run('publish', { subject: 'forbidden.one', payload: '' });
      await client.run('subscribe', { subject: 'forbidden.two' });
      await untilError(client, /does not permit this connection's publish to the subject forbidden\.one/);
      await untilError(client, /does not permit this connection's subscription to the subject forbidden\.two/);
      expect(await client.run('request', { subject: 'allowed', payload: '', timeout: 600 })).toEqual({
        error: 'no-responders',
      });
      expect(await client.stats()).toMatchObject({ connects: 1, disconnects: 0 });
    });
  });

  describe('with TLS', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warder-test-tls-'));
    const file = (name: string): string => join(folder, name);
    const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

    /** NAME.pem and NAME.key, signed by CA.pem, for these subject alternative names. */
    function makeCertificate(ca: string, name: string, names: string): void {
      writeFileSync(file(`${name}.ext`), `subjectAltName = ${names}\n`);
      openssl(
        'req',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
        '-subj',
        `/O=${name}`,
      );
      const signing = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-days', '2'];
      openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, '-extfile', `${name}.ext`, ...signing);
    }

    function makeAuthority(name: string): void {
      const keys = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`];
      openssl('req', '-x509', ...keys, '-subj', `/CN=${name}`, '-days', '2');
    }

    beforeAll(() => {
      makeAuthority('ca');
      makeAuthority('other-ca');
      makeCertificate('ca', 'server', 'DNS:localhost, IP:127.0.0.1');
      makeCertificate('ca', 'elsewhere', 'DNS:nats.example.org, IP:127.0.0.9');
      makeCertificate('ca', 'client', 'DNS:prosody.example.org');
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    const serverWith = (certificate: string, more = ''): Promise<NatsServer> =>
      startServer({
        extraConfig: `tls { cert_file: "${file(`${certificate}.pem`)}", key_file: "${file(`${certificate}.key`)}" ${more} }`,
      });
    const trust = (ca = 'ca'): { ca_file: string } => ({ ca_file: file(`${ca}.pem`) });

    it('verifies an address and a name', async () => {
      const server = await serverWith('server');
      for (const host of ['127.0.0.1', 'localhost']) {
        const client = await startClient(`tls://${host}:${server.port}`, { tls: trust() });
        await client.connected();
        expect(await client.statuses()).toEqual([['connected', `${host}:${server.port}`, false]]);
        expect(await client.run('request', { subject: 'a', payload: 'x'.repeat(300_000), timeout: 600 })).toEqual({
          error: 'no-responders',
        });
      }
    });

    it('turns TLS on when the server requires it', async () => {
      const server = await serverWith('server');
      const client = await startClient(server.url, { tls: trust() });
      await client.connected();
      const untrusting = await startClient(server.url);
      await untilError(untrusting, /certificate verify failed/);
    });

    it('refuses a certificate of another authority', async () => {
      const server = await serverWith('server');
      const client = await startClient(`tls://localhost:${server.port}`, { tls: trust('other-ca') });
      await untilError(client, /certificate verify failed/);
      expect(await client.stats()).toMatchObject({ connects: 0 });
    });

    it('refuses a certificate for another host, unless that host is meant', async () => {
      const server = await serverWith('elsewhere');
      for (const host of ['127.0.0.1', 'localhost']) {
        const client = await startClient(`tls://${host}:${server.port}`, { tls: trust() });
        await untilError(client, new RegExp(`the server's certificate is not for ${host}`));
        expect(await client.stats()).toMatchObject({ connects: 0 });
      }
      const meant = await startClient(server.url, { tls: { ...trust(), hostname: 'nats.example.org' } });
      await meant.connected();
    });

    it('shows its own certificate to a server that wants one', async () => {
      const server = await serverWith('server', `, ca_file: "${file('ca.pem')}", verify: true`);
      const own = { cert_file: file('client.pem'), key_file: file('client.key') };
      await (await startClient(server.url, { tls: { ...trust(), ...own } })).connected();
      const without = await startClient(server.url, { tls: trust() });
      await untilError(without, /Cannot connect/);
      expect(await without.stats()).toMatchObject({ connects: 0 });
    });

    it('does not speak in clear with a server that offers no TLS', async () => {
      const server = await startServer({ extraConfig: 'authorization { user: me, password: pw }' });
      for (const [url, more] of [
        [`tls://me:pw@127.0.0.1:${server.port}`, {}],
        [`nats://me:pw@127.0.0.1:${server.port}`, { tls: trust() }],
      ] as const) {
        const client = await startClient(url, more);
        await untilError(client, /TLS is required here and the server offers none/);
        expect(await client.stats()).toMatchObject({ connects: 0, bytes_out: 0 });
      }
    });

    it('comes back with TLS', async () => {
      const server = await serverWith('server');
      const client = await startClient(`tls://localhost:${server.port}`, { tls: trust(), reconnect_max: 0.2 });
      await client.connected();
      await server.kill();
      await client.connected(false);
      await server.restart();
      await client.connected();
      expect(await client.stats()).toMatchObject({ connects: 2 });
    });

    it('says so when a file of its own is missing', async () => {
      const server = await serverWith('server');
      const client = await startClient(server.url, { tls: { ca_file: file('none.pem') } });
      await untilError(client, /TLS: .*none\.pem|TLS: error loading CA/);
    });
  });

  describe('asking', () => {
    const stanza = { hook: 'send', from: 'a@b/c', to: 'd@e', kind: 'message', stanza: '<message/>' };

    async function startAsking() {
      const server = await startServer();
      const responder = await startResponder(server.url);
      opened.push(() => responder.stop());
      const client = await startClient(server.url);
      await client.connected();
      const question = { operation: 'stanza-check', request: stanza, budget_ms: 10_000 };
      return {
        server,
        responder,
        ask: (more = {}) => client.run('ask', { ...question, ...more }),
        ...client,
        question,
      };
    }

    it.each(['messagepack', 'json'])('is answered in %s', async (encoding) => {
      const server = await startServer();
      const worker = await connect({ servers: server.url });
      opened.push(() => worker.close());
      const asked: Record<string, unknown>[] = [];
      worker.subscribe('xmpp.policy.v1.stanza-check', {
        callback: (_error, message) => {
          const request =
            encoding === 'json' ? message.json<Record<string, unknown>>() : decodeMessagePack(message.data);
          asked.push(request);
          const reply = {
            v: 1,
            id: request['id'],
            seq: 0,
            age_ms: 0,
            verdict: 'deny',
            error: { text: 'nö' },
            ttl_ms: 5,
          };
          message.respond(encoding === 'json' ? JSON.stringify(reply) : encodeMessagePack(reply));
        },
      });
      await worker.flush();
      const client = await startClient(server.url);
      await client.connected();
      const answer = await client.run('ask', {
        operation: 'stanza-check',
        request: stanza,
        budget_ms: 10_000,
        encoding,
      });
      expect(answer.reply).toMatchObject({ verdict: 'deny', error: { text: 'nö' }, ttl_ms: 5, scope: 'none' });
      expect(asked).toEqual([
        {
          ...stanza,
          v: 1,
          id: expect.stringMatching(/^[0-9a-f]{32}$/),
          server: 'probe',
          budget_ms: expect.any(Number),
          min_seq: 0,
        },
      ]);
    });

    it.each([
      ['rubbish', () => Buffer.from('OK')],
      ['nothing', () => new Uint8Array()],
      ['another id', () => ({ verdict: 'allow', id: 'another' })],
      ['another version', () => ({ verdict: 'allow', v: 2 })],
      ['no verdict', () => ({})],
      ['an unknown verdict', () => ({ verdict: 'perhaps' })],
      ['half a reply', () => encodeMessagePack({ v: 1, verdict: 'allow' }).subarray(0, 5)],
    ])('takes %s for a bad reply', async (_, answer) => {
      const { responder, ask } = await startAsking();
      responder.on('stanza-check', answer);
      expect(await ask()).toMatchObject({ failure: 'bad-reply', stats: { failed: { 'bad-reply': 1 } } });
    });

    it('waits no longer than the budget', async () => {
      const { responder, ask } = await startAsking();
      responder.on('stanza-check', () => undefined);
      expect(await ask({ budget_ms: 50 })).toMatchObject({ failure: 'timeout' });
      expect(responder.asked).toHaveLength(1);
    });

    it('sends the stanza when the worker wants it', async () => {
      const { responder, ask } = await startAsking();
      responder.on('stanza-check', ({ stanza: sent }) =>
        sent === undefined ? { failure: 'stanza-required', text: '' } : { verdict: 'drop' },
      );
      expect(await ask({ stanza_on_demand: true })).toMatchObject({
        reply: { verdict: 'drop' },
        stats: { retried: 1 },
      });
      expect(responder.asked.map(({ stanza: sent }) => sent)).toEqual([undefined, stanza.stanza]);
    });

    it('finds the worker that comes a moment after the last one went', async () => {
      const { responder, server, ask } = await startAsking();
      await responder.stop();
      const answer = ask();
      const next = await startResponder(server.url);
      opened.push(() => next.stop());
      expect(['no-responders', undefined]).toContain((await answer).failure);
      expect((await ask()).failure).toBeUndefined();
    });

    it('fails at once when the broker goes while it waits', async () => {
      const { responder, server, ask } = await startAsking();
      responder.on('stanza-check', () => undefined);
      const answer = ask({ budget_ms: 600_000 });
      await responder.untilAsked('stanza-check');
      await server.kill();
      expect(await answer).toMatchObject({ failure: 'disconnected' });
    });

    it('says so where it cannot wait', async () => {
      const { run, question } = await startAsking();
      expect(await run('ask_from_timer', question)).toEqual({ failure: 'not-async' });
    });
  });
});

describe('the one connection of all hosts', () => {
  const stop: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of stop.splice(0).toReversed()) await end();
  });

  async function startHosts(config: (url: string) => string, second = (_url: string): string => '') {
    const server = await startNatsServer();
    stop.push(() => server.stop());
    const hosts = { 'one.test': '', 'two.test': second(server.url) };
    const probe = await startNatsProbe({ config: config(server.url), hosts });
    stop.push(() => probe.stop());
    const on = (host: string, command: string, more = {}) => probe.run(command, { client: 'shared', ...more }, host);
    return { server, probe, on };
  }

  const url = (natsUrl: string): string => `warder_nats_url = "${natsUrl}"`;

  it('is shared, outlives the reload of a host, and closes behind the last', async () => {
    const { on } = await startHosts(url);
    for (const host of ['one.test', 'two.test']) expect(await on(host, 'acquire')).toEqual({ acquired: true });
    const { client_id: first } = await on('one.test', 'until_connected');
    expect(await on('two.test', 'until_connected')).toEqual({ client_id: first });
    expect(await on('two.test', 'reload', { host: 'one.test' })).toEqual({ ok: true });
    await on('one.test', 'acquire');
    expect(await on('one.test', 'until_connected')).toEqual({ client_id: first });
    await on('one.test', 'release');
    await on('one.test', 'release');
    expect(await on('two.test', 'request', { subject: 'a', payload: '', timeout: 600 })).toEqual({
      error: 'no-responders',
    });
    await on('two.test', 'release');
    await on('two.test', 'until_connected', { connected: false });
    expect((await on('two.test', 'state')).statuses?.at(-1)).toEqual(['disconnected', 'closed']);
    await on('two.test', 'acquire');
    expect((await on('two.test', 'until_connected')).client_id).not.toBe(first);
  });

  it('outlives the reload of the only host', async () => {
    const { on } = await startHosts(url);
    await on('one.test', 'acquire');
    const { client_id: first } = await on('one.test', 'until_connected');
    await on('two.test', 'reload', { host: 'one.test' });
    await on('one.test', 'acquire');
    expect(await on('one.test', 'until_connected')).toEqual({ client_id: first });
  });

  it('is one even when a host is configured otherwise, which the log names with both hosts', async () => {
    const { probe, on } = await startHosts(url, () => 'warder_nats_url = "nats://127.0.0.1:1"');
    await on('one.test', 'acquire');
    const { client_id: first } = await on('one.test', 'until_connected');
    await on('two.test', 'acquire');
    expect(await on('two.test', 'until_connected')).toEqual({ client_id: first });
    await probe.waitForOutput(/error\s.*one\.test and two\.test have different warder_nats_ options/);
  });

  it('is none when the options make no sense, and the log says what does not', async () => {
    const { probe, on } = await startHosts(() => 'warder_nats_url = "http://localhost"');
    expect(await on('one.test', 'acquire')).toEqual({ acquired: false });
    await probe.waitForOutput(/error\s.*begins with nats:\/\/ or tls:\/\/, not with http:\/\//);
  });

  it('does not keep Prosody from ending, whether the broker is there or not', async () => {
    for (const kill of [false, true]) {
      const { server, probe, on } = await startHosts(url);
      await on('one.test', 'acquire');
      await on('one.test', 'until_connected');
      if (kill) await server.kill();
      expect(await probe.stop()).toEqual({ code: 0, signal: null });
    }
  });
});
