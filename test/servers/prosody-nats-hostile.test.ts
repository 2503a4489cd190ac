import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { useProbe } from './probe-scene.ts';
import { startNatsServer } from './nats-server.ts';

const info = 'INFO {"server_id":"x","version":"2.9.10","headers":true,"max_payload":1048576}\r\n';

describe("the Prosody hook's NATS client, with a server that misbehaves", () => {
  const { startClient, closeAfterwards } = useProbe();

  /** A TCP server that does as the test says with each connection. Resolves with its address. */
  async function startFake(onConnection: (socket: Socket) => void): Promise<string> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
      onConnection(socket);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    closeAfterwards(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => void server.close(resolve));
    });
    const address = server.address();
    return `nats://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** Speaks NATS as far as the login, then answers each message published with what the test says. */
  function speak(socket: Socket, onPublish: (subject: string, reply: string) => void): void {
    socket.write(info);
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      for (const _ of text.matchAll(/^PING\r\n/gm)) socket.write('PONG\r\n');
      for (const [, subject = '', reply = ''] of text.matchAll(/^PUB (\S+) (\S+) \d+\r\n/gm)) onPublish(subject, reply);
    });
  }

  it('reads a greeting that comes byte by byte', async () => {
    const url = await startFake((socket) => {
      socket.setNoDelay(true);
      socket.on('data', (chunk) => void (chunk.includes('PING') && socket.write('PONG\r\n')));
      let at = 0;
      const timer = setInterval(() => {
        socket.write(info.slice(at, (at += 1)));
        if (at >= info.length) clearInterval(timer);
      }, 1);
    });
    const client = await startClient(url);
    await client.connected();
    expect(await client.statuses()).toEqual([['connected', url.slice('nats://'.length), false]]);
  });

  it.each([
    ['another protocol', 'HTTP/1.1 400 Bad Request\r\n\r\n', /this is not NATS: unknown operation/],
    ['an INFO that is no JSON', 'INFO {"a\r\n', /malformed INFO/],
    ['an INFO that is a list of nothing', 'INFO 5\r\n', /malformed INFO/],
    ['a line without end', 'x'.repeat(70_000), /this is not NATS: line too long/],
    ['a message that is too long to be true', `${info}MSG a 1 99999999999\r\n`, /this is not NATS: malformed MSG/],
    ['a refusal', "-ERR 'maximum connections exceeded'\r\n", /maximum connections exceeded/],
  ])('leaves %s, and finds the right server behind it', async (_, bytes, reason) => {
    const broker = await startNatsServer();
    closeAfterwards(() => broker.stop());
    let refusals = 0;
    const wrong = await startFake((socket) => {
      refusals += 1;
      socket.end(bytes);
    });
    const alone = await startClient(wrong, { reconnect_max: 0.1 });
    await alone.untilError(reason);
    const client = await startClient([wrong, broker.url], { reconnect_max: 0.1 });
    await client.connected();
    expect(refusals).toBeGreaterThan(0);
  });

  it('goes on from a server that accepts and says nothing', async () => {
    const silent = await startFake(() => {});
    const client = await startClient(silent, { connect_timeout: 0.1 });
    await client.untilError(/no connection within 0\.1 s/);
  });

  it('goes on from a server that never answers the login', async () => {
    const mute = await startFake((socket) => void socket.write(info));
    const client = await startClient(mute, { connect_timeout: 0.1 });
    await client.untilError(/no connection within 0\.1 s/);
  });

  it('takes nothing in clear for encrypted', async () => {
    const tls = info.replace('}', ',"tls_required":true}');
    const url = await startFake((socket) => void socket.write(`${tls}${info}PING\r\n`));
    const client = await startClient(url);
    await client.untilError(/data before TLS/);
    expect(await client.stats()).toMatchObject({ bytes_out: 0 });
  });

  it('skips a reply that is too large, and stays connected', async () => {
    const url = await startFake((socket) =>
      speak(socket, (_, reply) => {
        socket.write(`MSG ${reply} 1 5000000\r\n`);
        socket.write(Buffer.alloc(5_000_000, 'x'));
        socket.write('\r\n');
      }),
    );
    const client = await startClient(url);
    await client.connected();
    const question = { operation: 'stanza-check', request: { from: 'a@b' }, budget_ms: 20_000 };
    expect(await client.run('ask', question)).toMatchObject({ failure: 'bad-reply' });
    expect(await client.stats()).toMatchObject({ connects: 1, disconnects: 0 });
  });

  it('gives an answer to nobody but the one who asked', async () => {
    const url = await startFake((socket) =>
      speak(socket, (subject, reply) => {
        if (subject !== 'asked') return;
        const inbox = reply.slice(0, reply.lastIndexOf('.') + 1);
        socket.write(`MSG ${inbox}ffffffffffffffff 1 6\r\nforged\r\n`);
        socket.write(`MSG ${reply} 99 6\r\nforged\r\n`);
        socket.write(`MSG ${reply} 1 5\r\nfirst\r\nMSG ${reply} 1 6\r\nsecond\r\n`);
      }),
    );
    const client = await startClient(url);
    await client.connected();
    expect(await client.run('request', { subject: 'asked', payload: '', timeout: 20 })).toEqual({ payload: 'first' });
    expect(await client.stats()).toMatchObject({ pending: 0 });
  });

  it('does not hammer a server that throws it out', async () => {
    let connections = 0;
    const url = await startFake((socket) => {
      connections += 1;
      socket.write(info);
      socket.on('data', () => void socket.end('PONG\r\n'));
    });
    const client = await startClient(url, { reconnect_min: 600, reconnect_max: 600 });
    await expect.poll(async () => (await client.statuses()).at(-1)?.[0], { timeout: 20_000 }).toBe('disconnected');
    for (let i = 0; i < 10; i += 1) await client.run('state');
    expect(connections).toBe(1);
  });

  it('does not pile up what a server that stands still does not read', async () => {
    const broker = await startNatsServer();
    closeAfterwards(() => broker.stop());
    const client = await startClient(broker.url, { ping_interval: 600, max_unsent: 3_000_000 });
    await client.connected();
    await broker.pause();
    const sent = Array.from({ length: 20 }, () =>
      client.run('request', { subject: 'a', size: 1_000_000, timeout: 0.2 }),
    );
    const errors = (await Promise.all(sent)).map(({ error }) => error);
    expect(errors).toContain('disconnected');
    expect(errors).toContain('timeout');
    broker.resume();
    await expect
      .poll(() => client.run('request', { subject: 'a', payload: '', timeout: 5 }), { timeout: 20_000 })
      .toEqual({ error: 'no-responders' });
    expect(await client.stats()).toMatchObject({ connects: 1, disconnects: 0 });
  });
});
