/** How a worker gets into a broker that does not let everybody in, and what it says of one that it cannot get into. */
import { connect } from 'nats';
import type { ConnectionOptions } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { certificateFile, keyFile } from '../sources/http-service.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function startBroker(extraConfig: string): Promise<NatsServer> {
  const broker = await startNatsServer({ jetstream: true, extraConfig });
  stops.push(() => broker.stop());
  return broker;
}

/** Starts a worker, and asks NATS for it as a tool of an administrator would. */
async function isListed(natsUrl: string, settings: object, asker: ConnectionOptions): Promise<void> {
  const worker = await startWorkerProcess(natsUrl, JSON.stringify({ nats: settings })); // JSON is YAML
  stops.push(() => worker.stop());
  const nats = await connect(asker);
  stops.push(() => nats.close());
  expect((await nats.request('$SRV.PING.warder', '')).json()).toMatchObject({ name: 'warder' });
}

const userAndPassword = 'authorization { user: warder, password: "s3cret p@ss" }';
/** The asker's own connection is no matter of the test. */
const seen = { caFile: certificateFile, checkServerIdentity: () => undefined };
const encrypted = `tls { cert_file: "${certificateFile}", key_file: "${keyFile}"`;

describe('a worker logs in', () => {
  it('with user and password', async () => {
    const { url } = await startBroker(userAndPassword);
    const user = 'warder';
    const password = 's3cret p@ss';
    await isListed(url, { user, password }, { servers: url, user, pass: password });
  });

  it('with user and password in the URL', async () => {
    const { url } = await startBroker(userAndPassword);
    const given = url.replace('//', '//warder:s3cret%20p%40ss@');
    await isListed(given, {}, { servers: url, user: 'warder', pass: 's3cret p@ss' });
  });

  it('with a token', async () => {
    const { url } = await startBroker('authorization { token: "t0ken" }');
    await isListed(url, { token: 't0ken' }, { servers: url, token: 't0ken' });
  });

  it('over TLS, to a broker whose certificate it has been told to trust', async () => {
    const { port } = await startBroker(`${encrypted} }`);
    const url = `tls://127.0.0.1:${port}`;
    await isListed(url, { tls: { ca_file: certificateFile } }, { servers: url, tls: seen });
  });

  it('over TLS with a certificate of its own', async () => {
    const { port } = await startBroker(`${encrypted}, ca_file: "${certificateFile}", verify: true }`);
    const url = `tls://127.0.0.1:${port}`;
    const own = { ca_file: certificateFile, cert_file: certificateFile, key_file: keyFile };
    const asker = { certFile: certificateFile, keyFile };
    await isListed(url, { tls: own }, { servers: url, tls: { ...seen, ...asker } });
  });
});

describe('a worker that is not let in', () => {
  /** @returns what it logs when it has said that it tries on */
  async function refused(natsUrl: string, tls?: object): Promise<string> {
    const worker = await startWorkerProcess(natsUrl, JSON.stringify({ nats: { tls } }), /trying on/);
    stops.push(() => worker.stop());
    return worker.output();
  }

  it('says why, without the password, and goes on trying', async () => {
    const { url } = await startBroker(userAndPassword);
    const said = await refused(url.replace('//', '//warder:wr0ng@'));
    expect(said).toMatch(/authorization/i);
    expect(said).not.toContain('wr0ng');
  });

  it('does not trust a certificate of nobody that it knows', async () => {
    const { port } = await startBroker(`${encrypted} }`);
    expect(await refused(`tls://127.0.0.1:${port}`)).toMatch(/self-signed certificate/);
  });

  it('does not take the certificate of one host for another, although it trusts who signed it', async () => {
    const { port } = await startBroker(`${encrypted} }`);
    const said = await refused(`tls://localhost:${port}`, { ca_file: certificateFile });
    expect(said).toMatch(/does not match certificate/);
  });

  it('does not speak in clear with a broker that has no TLS when it was told to encrypt', async () => {
    const { port } = await startBroker('');
    expect(await refused(`tls://127.0.0.1:${port}`)).toMatch(/tls/i);
  });
});
