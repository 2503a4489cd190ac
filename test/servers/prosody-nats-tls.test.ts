import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useCertificates } from './certificates.ts';
import { useProbe } from './probe-scene.ts';
import type { NatsServer } from './nats-server.ts';

describe("the Prosody hook's NATS client with TLS", () => {
  const { startServer, startClient } = useProbe();

  const { file, authority, certificate, remove } = useCertificates();

  beforeAll(() => {
    authority('ca');
    authority('other-ca');
    certificate('ca', 'server', 'DNS:localhost, IP:127.0.0.1');
    certificate('ca', 'elsewhere', 'DNS:nats.example.org, IP:127.0.0.9');
    certificate('ca', 'client', 'DNS:prosody.example.org');
  });
  afterAll(remove);

  const serverWith = (name: string, more = ''): Promise<NatsServer> =>
    startServer({
      extraConfig: `tls { cert_file: "${file(`${name}.pem`)}", key_file: "${file(`${name}.key`)}" ${more} }`,
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
    await untrusting.untilError(/certificate verify failed/);
  });

  it('refuses a certificate of another authority', async () => {
    const server = await serverWith('server');
    const client = await startClient(`tls://localhost:${server.port}`, { tls: trust('other-ca') });
    await client.untilError(/certificate verify failed/);
    expect(await client.stats()).toMatchObject({ connects: 0 });
  });

  it('refuses a certificate for another host, unless that host is meant', async () => {
    const server = await serverWith('elsewhere');
    for (const host of ['127.0.0.1', 'localhost']) {
      const client = await startClient(`tls://${host}:${server.port}`, { tls: trust() });
      await client.untilError(new RegExp(`the server's certificate is not for ${host}`));
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
    await without.untilError(/Cannot connect/);
    expect(await without.stats()).toMatchObject({ connects: 0 });
  });

  it('does not speak in clear with a server that offers no TLS', async () => {
    const server = await startServer({ extraConfig: 'authorization { user: me, password: pw }' });
    for (const [url, more] of [
      [`tls://me:pw@127.0.0.1:${server.port}`, {}],
      [`nats://me:pw@127.0.0.1:${server.port}`, { tls: trust() }],
    ] as const) {
      const client = await startClient(url, more);
      await client.untilError(/TLS is required here and the server offers none/);
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
    await client.untilError(/TLS: .*none\.pem|TLS: error loading CA/);
  });
});
