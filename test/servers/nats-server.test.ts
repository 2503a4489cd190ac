import { existsSync } from 'node:fs';
import { connect, StringCodec } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from './free-port.ts';
import { type NatsServer, type NatsServerOptions, startNatsServer } from './nats-server.ts';

const text = StringCodec();
const servers: NatsServer[] = [];
async function start(options?: NatsServerOptions): Promise<NatsServer> {
  const server = await startNatsServer(options);
  servers.push(server);
  return server;
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

async function echoOnce(server: NatsServer): Promise<string> {
  const connection = await connect({ servers: server.url });
  const subscription = connection.subscribe('echo', { callback: (_, message) => message.respond(message.data) });
  const reply = await connection.request('echo', text.encode('hello'), { timeout: 5_000 });
  subscription.unsubscribe();
  await connection.close();
  return text.decode(reply.data);
}

describe('startNatsServer', () => {
  it('serves requests on a loopback port of its own', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    expect(one.port).not.toBe(other.port);
    expect(await Promise.all([echoOnce(one), echoOnce(other)])).toEqual(['hello', 'hello']);
  });

  it('keeps its port and its stream through a kill and a restart', async () => {
    const server = await start({ jetstream: true });
    const before = await connect({ servers: server.url, reconnect: false });
    const manager = await before.jetstreamManager();
    await manager.streams.add({ name: 'KEPT', subjects: ['kept'] });
    expect((await before.jetstream().publish('kept')).seq).toBe(1);
    const firstPid = server.pid;
    await server.kill();
    await before.closed();
    await server.restart();
    expect(server.pid).not.toBe(firstPid);
    const after = await connect({ servers: server.url });
    expect((await after.jetstream().publish('kept')).seq).toBe(2);
    await after.close();
  });

  it('answers nothing while paused and everything after', async () => {
    const server = await start();
    const connection = await connect({ servers: server.url });
    await server.pause();
    let flushed = false;
    const flush = connection.flush().then(() => (flushed = true));
    await expect(connect({ servers: server.url, timeout: 300, reconnect: false })).rejects.toThrow('TIMEOUT');
    expect(flushed).toBe(false);
    server.resume();
    await flush;
    await connection.close();
  });

  it('stops while paused, and leaves no files', async () => {
    const server = await start({ jetstream: true });
    expect(existsSync(server.storeDir)).toBe(true);
    await server.pause();
    await server.stop();
    expect(existsSync(server.storeDir)).toBe(false);
    expect(server.signal('SIGCONT')).toBe(false);
  });

  it('takes a port, a configuration and arguments', async () => {
    const port = await freePort();
    const extraConfig = 'authorization { user: someone, password: secret }';
    const server = await start({ port, extraConfig, args: ['-n', 'named'] });
    expect(server.url).toBe(`nats://127.0.0.1:${port}`);
    await expect(connect({ servers: server.url, reconnect: false })).rejects.toThrow('Authorization');
    const connection = await connect({ servers: server.url, user: 'someone', pass: 'secret' });
    expect(connection.info?.server_name).toBe('named');
    await connection.close();
  });

  it('says what the server printed when it does not come up', async () => {
    await expect(startNatsServer({ extraConfig: 'authorization { user: ' })).rejects.toThrow(
      /ended with code 1[^]*Parse error/,
    );
    const { port } = await start();
    await expect(startNatsServer({ port })).rejects.toThrow('address already in use');
  });
});
