import { connect } from 'nats';
import { describe, expect, it } from 'vitest';
import { freePort, freePorts } from './free-port.ts';
import { startNatsProbe, startProbeClient } from './nats-probe.ts';
import { useProbe } from './probe-scene.ts';

describe("the Prosody hook's NATS client", () => {
  const { startServer, startClient, closeAfterwards } = useProbe();

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
    closeAfterwards(() => responder.close());
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
    closeAfterwards(() => responder.close());
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
    const client = await startClient((await startServer()).url, { ping_interval: 0.01 });
    await client.connected();
    const greeted = Number((await client.stats())['bytes_in']);
    const tenPongs = 10 * 'PONG\r\n'.length;
    await expect
      .poll(async () => (await client.stats())['bytes_in'], { timeout: 20_000 })
      .toBeGreaterThan(greeted + tenPongs);
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

  it('learns the other server of a cluster, and goes to it', async () => {
    const [first, second] = (await freePorts(2)) as [number, number];
    const cluster = (own: number, other: number): string =>
      `cluster { name: test, listen: "127.0.0.1:${own}", routes: ["nats://127.0.0.1:${other}"] }`;
    const known = await startServer({ extraConfig: cluster(first, second) });
    const learnt = await startServer({ extraConfig: cluster(second, first) });
    const client = await startClient(known.url);
    await client.connected();
    await expect
      .poll(async () => (await client.run('state')).connect_urls, { timeout: 20_000 })
      .toContain(`127.0.0.1:${learnt.port}`);
    await known.kill();
    await expect
      .poll(async () => (await client.statuses()).at(-1), { timeout: 20_000 })
      .toEqual(['connected', `127.0.0.1:${learnt.port}`, true]);
  });

  it('does not keep Prosody from ending, even if nobody closes it', async () => {
    const servers = [await startServer(), await startServer()];
    for (const areUp of [true, false]) {
      const ending = await startNatsProbe();
      for (let i = 0; i < 2; i += 1) {
        const client = await startProbeClient(
          ending,
          () => {},
          servers.map(({ url }) => url),
        );
        await client.connected();
      }
      if (!areUp) for (const server of servers) await server.kill();
      expect(await ending.stop()).toEqual({ code: 0, signal: null });
    }
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
      await client.untilError(/Authorization Violation/);
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
      await client.untilError(/does not permit this connection's publish to the subject forbidden\.one/);
      await client.untilError(/does not permit this connection's subscription to the subject forbidden\.two/);
      expect(await client.run('request', { subject: 'allowed', payload: '', timeout: 600 })).toEqual({
        error: 'no-responders',
      });
      expect(await client.stats()).toMatchObject({ connects: 1, disconnects: 0 });
    });
  });
});
