/** Everybody logs in to the broker of deploy/nats as its README says, and is refused nothing that he does. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import { startProsody } from './prosody.ts';
import type { Prosody } from './prosody.ts';
import { startSecuredBroker, subject, watchRefusals } from './secured-broker.ts';
import type { SecuredBroker } from './secured-broker.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';
import { errorOf, message } from './xmpp-client.ts';

const build = fileURLToPath(new URL('../../deploy/ejabberd/mod_warder/build', import.meta.url));

describe.each([
  ['by nkey, and hooks by password', false],
  ['with certificates, and hooks by nothing else', true],
])('at the broker, %s:', (_, byCertificate) => {
  let broker: SecuredBroker;
  let worker: WorkerProcess;
  let prosody: Prosody;

  const file = (name: string): string => broker.site.file(name);
  const password = (name: string): string => readFileSync(file(`${name}.password`), 'utf8').trim();

  /** Lua options of the hook, as the README has them. */
  function hookOptions(name: string): string {
    const own = byCertificate ? `, cert_file = "${file(`${name}.pem`)}", key_file = "${file(`${name}.key`)}"` : '';
    const login = byCertificate ? '' : `warder_nats_user = "${name}" warder_nats_password = "${password(name)}"`;
    return `warder_nats_inbox = "${name}" warder_nats_tls = { ca_file = "${file('ca.pem')}"${own} } ${login}`;
  }

  beforeAll(async () => {
    broker = await startSecuredBroker({ byCertificate });
    const operations = { 'stanza-check': { sources: 'deny' }, 'session-check': { sources: 'allow' } };
    worker = await startWorkerProcess(broker.url, JSON.stringify({ nats: broker.settings('worker'), operations }));
    prosody = await startProsody({
      natsUrl: broker.url,
      options: hookOptions('prosody-1'),
      policy: { serverName: 'prosody-1', timeoutsMs: { 'stanza-check': 20_000 } },
    });
    await prosody.waitForOutput(/Connected to NATS/);
  });
  afterAll(async () => {
    await prosody?.stop();
    await worker?.stop();
    await broker?.stop();
  });

  async function warder(...args: string[]): Promise<Record<string, unknown>> {
    const config = file('admin.yaml');
    writeFileSync(config, JSON.stringify({ nats: { url: broker.url, ...broker.settings('admin') } }));
    const ran = await run(process.execPath, [await builtMain(), ...args, '--config', config, '--json'], {
      cwd: broker.site.folder,
    });
    expect(ran, ran.stderr + ran.stdout).toMatchObject({ code: 0 });
    return JSON.parse(ran.stdout) as Record<string, unknown>;
  }

  it('a Prosody asks, and what a worker says holds', async () => {
    const [alice, bob] = await Promise.all([prosody.connect('alice'), prosody.connect('bob')]);
    const sent = message(bob.bare, 'hello');
    await alice.send(sent);
    // The fallback would have let it pass.
    const reply = await alice.reply(sent.attrs['id'] ?? '');
    expect(errorOf(reply)).toMatchObject({ condition: 'not-allowed' });
  });

  it('a change reaches worker and hook, by the credentials of the administrator', async () => {
    const { silent, reported } = await warder('flush', 'all', '--wait');
    expect(silent).toEqual([]);
    expect(reported).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kind: 'worker' }),
        expect.objectContaining({ kind: 'hook', name: 'prosody-1' }),
      ]),
    );
  });

  it('the administrator asks as a hook would', async () => {
    const { reply } = await warder('check', 'session', '--user', 'alice@localhost/phone');
    expect(reply).toMatchObject({ verdict: 'allow' });
  });

  it("the Erlang hooks' client asks", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warder-test-erlang-'));
    const execute = promisify(execFile);
    try {
      await execute(build, ['--client-only', folder]);
      const name = 'ejabberd-1';
      const own = byCertificate ? `, cert_file => "${file(`${name}.pem`)}", key_file => "${file(`${name}.key`)}"` : '';
      const login = byCertificate ? '' : `, user => "${name}", password => "${password(name)}"`;
      const question = JSON.stringify({ v: 1, id: 'abc', server: 'erl', budget_ms: 20_000, user: 'a@localhost/b' });
      const evaluate = `
        Tls = #{ca_file => "${file('ca.pem')}"${own}},
        {ok, _} = warder_nats:start_link(n, #{servers => "${broker.url}", inbox => "${name}", tls => Tls${login}}),
        Wait = fun Again() -> warder_nats:is_connected(n) orelse begin timer:sleep(5), Again() end end,
        Wait(),
        Deadline = erlang:monotonic_time(millisecond) + 20000,
        {ok, #{payload := Answer}} = warder_nats:request(n, <<"${subject('session-check')}">>, <<${JSON.stringify(question)}>>, Deadline),
        io:put_chars(["answer:", Answer]),
        halt(0).`;
      const { stdout } = await execute('erl', ['-noshell', '-pa', folder, '-eval', evaluate], { timeout: 60_000 });
      const answer: unknown = JSON.parse(/answer:(.*)/.exec(stdout)?.[1] ?? stdout);
      expect(answer).toMatchObject({ v: 1, id: 'abc', verdict: 'allow' });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('nobody was refused anything', async () => {
    expect(prosody.output()).not.toMatch(/permissions violation/i);
    expect(worker.output()).not.toMatch(/NATS refused something/);
    expect(broker.server.output()).not.toMatch(/Permissions Violation|authentication error/i);
  });

  it('the key of a worker does not serve as that of an administrator, and the command says so at once', async () => {
    const config = file('worker.yaml');
    writeFileSync(config, JSON.stringify({ nats: { url: broker.url, ...broker.settings('worker') } }));
    const main = await builtMain();
    const command = async (...args: string[]) =>
      run(process.execPath, [main, ...args, '--config', config], { cwd: broker.site.folder });
    for (const ran of [
      await command('check', 'session', '--user', 'alice@localhost/phone', '--timeout', '20s'),
      await command('flush', 'all', '--timeout', '20s'),
    ]) {
      expect(ran).toMatchObject({ code: 1, stderr: '' });
      expect(ran.stdout.replaceAll(/\s+/g, ' ')).toMatch(/refuses this.*administrator/);
    }
  });

  // The rest is about certificates.
  if (!byCertificate) return;

  it('nobody connects without a certificate of the authority', async () => {
    const bare = { tls: { caFile: file('ca.pem') } };
    await expect(
      broker.connect('prosody-1', { ...bare, user: 'prosody-1', pass: password('prosody-1') }),
    ).rejects.toThrow(/bad certificate|certificate required|ECONNRESET/);
    await expect(broker.connect('worker', bare)).rejects.toThrow(/bad certificate|certificate required|ECONNRESET/);
  });

  it('who has the certificate of one hook is no other, whatever he says', async () => {
    const nats = await broker.connect('prosody-1', { user: 'ejabberd-1' });
    const refusals = watchRefusals(nats);
    nats.subscribe('_INBOX.ejabberd-1.>');
    nats.subscribe('_INBOX.prosody-1.>');
    expect(await refusals.until()).toEqual(['_INBOX.ejabberd-1.>']);
    await nats.close();
  });

  it('a hook that has a password as well needs both', async () => {
    const line = broker.site.keys('password', 'both').replace('"both"', '"ejabberd-1"');
    await broker.reload((config) => config.replace('user: "ejabberd-1"', () => line));
    await expect(broker.connect('ejabberd-1')).rejects.toThrow('Authorization Violation');
    const login = { user: 'ejabberd-1', pass: password('both') };
    await expect(broker.connect('prosody-1', login)).rejects.toThrow('Authorization Violation');
    await (await broker.connect('ejabberd-1', login)).close();
  });

  it('a certificate that names no user is let in as nobody, whatever user it says', async () => {
    broker.site.keys('certificate', 'stranger');
    const stranger = { tls: { caFile: file('ca.pem'), certFile: file('stranger.pem'), keyFile: file('stranger.key') } };
    const login = { user: 'prosody-1', pass: password('prosody-1') };
    await expect(broker.connect('prosody-1', { ...stranger, ...login })).rejects.toThrow('Authorization Violation');
  });
});
