/** How a worker gets into a broker that does not let everybody in, and what it says of one that it cannot get into. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, credsAuthenticator, nkeyAuthenticator, nkeys } from 'nats';
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

function secretFile(name: string, content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-login-'));
  stops.push(async () => rmSync(folder, { recursive: true }));
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A signed JWT as NATS has them (its ADR-14). */
function signed(issuer: ReturnType<typeof nkeys.createUser>, sub: string, nats: object): string {
  const part = (value: object | Uint8Array) =>
    Buffer.from(value instanceof Uint8Array ? value : JSON.stringify(value)).toString('base64url');
  const claims = { jti: sub, iat: 1_700_000_000, iss: issuer.getPublicKey(), name: 'test', sub };
  const head = part({ typ: 'JWT', alg: 'ed25519-nkey' });
  const body = `${head}.${part({ ...claims, nats: { ...nats, version: 2 } })}`;
  return `${body}.${part(issuer.sign(new TextEncoder().encode(body)))}`;
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

  it('with an nkey', async () => {
    const pair = nkeys.createUser();
    const { url } = await startBroker(`authorization { users: [{ nkey: ${pair.getPublicKey()} }] }`);
    const nkey_file = secretFile('worker.nk', `${text(pair.getSeed())}\n`);
    await isListed(url, { nkey_file }, { servers: url, authenticator: nkeyAuthenticator(pair.getSeed()) });
  });

  it('with a file of credentials', async () => {
    const [operator, system, account, user] = [
      nkeys.createOperator(),
      nkeys.createAccount(),
      nkeys.createAccount(),
      nkeys.createUser(),
    ];
    const unlimited = { subs: -1, data: -1, payload: -1 };
    const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const limits = { ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
    const ofAccount = (pair: typeof account, more: object) =>
      `${pair.getPublicKey()}: "${signed(operator, pair.getPublicKey(), { type: 'account', limits: { ...limits, ...more } })}"`;
    const { url } = await startBroker(`
      operator: "${signed(operator, operator.getPublicKey(), { type: 'operator' })}"
      system_account: ${system.getPublicKey()}
      resolver: MEMORY
      resolver_preload: {
        ${ofAccount(system, {})}
        ${ofAccount(account, storage)}
      }`);
    const jwt = signed(account, user.getPublicKey(), { type: 'user', ...unlimited, pub: {}, sub: {} });
    const block = (name: string, content: string) => `-----BEGIN ${name}-----\n${content}\n------END ${name}------\n\n`;
    const creds = block('NATS USER JWT', jwt) + block('USER NKEY SEED', text(user.getSeed()));
    const authenticator = credsAuthenticator(new TextEncoder().encode(creds));
    await isListed(url, { creds_file: secretFile('worker.creds', creds) }, { servers: url, authenticator });
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

describe('a worker with a file that does not say who it is', () => {
  it.each([
    ['nkey_file', 'half a key', /is not the seed of a user's nkey, one line that begins with SU/],
    ['nkey_file', text(nkeys.createAccount().getSeed()), /is not the seed of a user's nkey/],
    ['creds_file', text(nkeys.createUser().getSeed()), /is not a file of NATS credentials, a JWT and a seed/],
  ])('does not start, and says what is wrong with its %s', async (key, content, pattern) => {
    const path = secretFile('login', content);
    const starting = startWorkerProcess('nats://127.0.0.1:1', JSON.stringify({ nats: { [key]: path } }));
    const error = await starting.then(
      () => '',
      (thrown: unknown) => String(thrown),
    );
    expect(error).toMatch(pattern);
    expect(error).toMatch(new RegExp(`code 1[^]*error: nats\\.${key}: ${path}`));
    expect(error).not.toContain(content);
  });

  it('does not start without the file', async () => {
    const settings = JSON.stringify({ nats: { nkey_file: '/nonexistent/worker.nk' } });
    await expect(startWorkerProcess('nats://127.0.0.1:1', settings)).rejects.toThrow(
      'error: nats.nkey_file: /nonexistent/worker.nk: there is no such file',
    );
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
