/**
 * How the ejabberd hook logs in to its broker, by what its options say: with credentials and with TLS, now and as soon as
 * they are others. What its client does on the connection is tested beside it, in Erlang.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { useCertificates } from './certificates.ts';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { freePort } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer, NatsServerOptions } from './nats-server.ts';
import { startResponder } from './responder.ts';

const { file, authority, certificate, remove } = useCertificates();
const brokers: NatsServer[] = [];
let ejabberd: Ejabberd;

beforeAll(async () => {
  authority('ca');
  authority('other-ca');
  certificate('ca', 'server', 'DNS:localhost, IP:127.0.0.1');
  certificate('ca', 'elsewhere', 'DNS:nats.example.org, IP:127.0.0.9');
  certificate('ca', 'client', 'DNS:ejabberd.example.org');
  const natsUrl = `nats://127.0.0.1:${await freePort()}`; // of nobody
  ejabberd = await startEjabberd({ natsUrl, codePaths: [await buildHook()] });
});

afterAll(async () => {
  await ejabberd?.stop();
  remove();
});

afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.stop();
});

async function startBroker(options: NatsServerOptions = {}): Promise<NatsServer> {
  const broker = await startNatsServer(options);
  brokers.push(broker);
  return broker;
}

const take = (options: Readonly<Record<string, unknown>>): Promise<void> =>
  ejabberd.reload({ modules: { mod_warder: { nats_reconnect_max: '200 ms', ...options } } });

const untilLogged = (what: string, port: number): Promise<unknown> =>
  ejabberd.waitForOutput(new RegExp(`${what}[^\n]*:${port}\\b|:${port}\\b[^\n]*${what}`));

const ask = (): Promise<string> =>
  ejabberd.shell(`{ok, Context} = mod_warder_hosts:find(<<"localhost">>),
    Fields = #{<<"user">> => <<"alice@localhost/1">>, <<"room">> => <<"den@rooms.localhost">>, <<"nick">> => <<"a">>},
    mod_warder_decide:fetch(Context, join_check, Fields, #{})`);

describe('with credentials', () => {
  const password = 'pa:ss@w%rd';
  const inUrl = encodeURIComponent(password);

  it.each([
    [
      'user and password',
      `authorization { user: me, password: "${password}" }`,
      { nats_user: 'me', nats_password: password },
    ],
    ['a token', 'authorization { token: s3cret }', { nats_token: 's3cret' }],
  ])('it logs in with %s beside the URL', async (_what, extraConfig, options) => {
    const { url, port } = await startBroker({ extraConfig });
    await take({ nats_url: url, ...options });
    await untilLogged('Connected to NATS', port);
    expect(await ask()).toContain('no_responders');
  });

  it.each([
    ['user and password', `authorization { user: me, password: "${password}" }`, `me:${inUrl}`],
    ['a token', 'authorization { token: s3cret }', 's3cret'],
  ])('it logs in with %s in the URL', async (_what, extraConfig, credentials) => {
    const { port } = await startBroker({ extraConfig });
    await take({ nats_url: [`nats://${credentials}@127.0.0.1:${port}`] });
    await untilLogged('Connected to NATS', port);
  });

  it('it says why it is refused, asks nobody, names no password, and logs in once it has the right one', async () => {
    const { url, port } = await startBroker({ extraConfig: 'authorization { user: me, password: right }' });
    await take({ nats_url: url, nats_user: 'me', nats_password: 'wrong-one' });
    await untilLogged('Authorization Violation', port);
    expect(await ask()).toContain('disconnected');
    expect(
      await ejabberd.shell('sys:get_state(maps:get(client, element(2, mod_warder_hosts:find(<<"localhost">>))))'),
    ).not.toContain('wrong-one');
    await take({ nats_url: url, nats_user: 'me', nats_password: 'right' });
    await untilLogged('Connected to NATS', port);
    expect(ejabberd.output()).not.toContain('wrong-one');
  });

  it('it is answered under its own inbox where it may read no other', async () => {
    const hook = 'permissions { publish: ["xmpp.policy.v1.>"], subscribe: ["_INBOX.my-node.>", "xmpp.policy.v1.>"] }';
    const users = `{ user: hook, password: a, ${hook} }, { user: worker, password: b }`;
    const { url, port } = await startBroker({
      extraConfig: `authorization { users: [${users}] }\nno_auth_user: worker`,
    });
    const responder = await startResponder(url);
    await take({ nats_url: `nats://hook:a@127.0.0.1:${port}`, nats_inbox: 'my-node' });
    await untilLogged('Connected to NATS', port);
    expect(await ask()).toMatch(/^\{ok, /);
    expect(responder.of('join-check')).toHaveLength(1);
    await responder.stop();
  });
});

describe('with TLS', () => {
  const brokerWith = (name: string, more = ''): Promise<NatsServer> =>
    startBroker({
      extraConfig: `tls { cert_file: "${file(`${name}.pem`)}", key_file: "${file(`${name}.key`)}"${more} }`,
    });
  const trust = { ca_file: file('ca.pem') };

  it.each(['127.0.0.1', 'localhost'])('it verifies that it is %s', async (host) => {
    const { port } = await brokerWith('server');
    await take({ nats_url: `tls://${host}:${port}`, nats_tls: trust });
    await untilLogged('Connected to NATS', port);
  });

  it('it goes to a host of another name where that is meant', async () => {
    const { port } = await brokerWith('elsewhere');
    await take({ nats_url: `tls://127.0.0.1:${port}`, nats_tls: { ...trust, hostname: 'nats.example.org' } });
    await untilLogged('Connected to NATS', port);
  });

  it('it shows its own certificate to a broker that wants one', async () => {
    const { port } = await brokerWith('server', `, ca_file: "${file('ca.pem')}", verify: true`);
    const own = { cert_file: file('client.pem'), key_file: file('client.key') };
    await take({ nats_url: `nats://localhost:${port}`, nats_tls: { ...trust, ...own } });
    await untilLogged('Connected to NATS', port);
  });

  it.each([
    ['of another authority', 'server', { ca_file: file('other-ca.pem') }],
    ['that nobody vouches for', 'server', true],
    ['of another host', 'elsewhere', { ca_file: file('ca.pem') }],
  ])('it refuses a certificate %s', async (_what, name, tls) => {
    const { port } = await brokerWith(name);
    await take({ nats_url: `tls://localhost:${port}`, nats_tls: tls });
    await untilLogged('TLS', port);
    expect(await ask()).toContain('disconnected');
  });

  it('it does not speak in clear with a broker that offers none', async () => {
    const { url, port } = await startBroker();
    await take({ nats_url: url, nats_tls: true });
    await untilLogged('TLS is required here and the server offers none', port);
    expect(await ask()).toContain('disconnected');
  });

  it('it comes back with TLS', async () => {
    const broker = await brokerWith('server');
    await take({ nats_url: `tls://localhost:${broker.port}`, nats_tls: trust });
    await untilLogged('Connected to NATS', broker.port);
    await broker.kill();
    await untilLogged('Lost the connection to NATS', broker.port);
    await broker.restart();
    await ejabberd.waitForOutput(new RegExp(`(Connected to NATS at localhost:${broker.port}[^]*){2}`));
    expect(await ask()).toContain('no_responders');
  });
});

it('goes to another of its brokers when one is gone', async () => {
  const [one, other] = [await startBroker(), await startBroker()];
  await take({ nats_url: [one.url, other.url] });
  const [, port] = await ejabberd.waitForOutput(
    new RegExp(`Connected to NATS at 127\\.0\\.0\\.1:(${one.port}|${other.port})`),
  );
  const [first, second] = Number(port) === one.port ? [one, other] : [other, one];
  await first.kill();
  await untilLogged('Connected to NATS', second.port);
  expect(await ask()).toContain('no_responders');
});

it('nothing in all this went wrong inside ejabberd', () => {
  expect(ejabberd.output()).not.toMatch(/CRASH REPORT|[Cc]rashed when running|terminated with reason|Error in process/);
});
