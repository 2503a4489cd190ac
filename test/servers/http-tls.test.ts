/** The worker's HTTP port with a certificate: what curl and Node make of it, and what happens when it is renewed. */
import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { makeSite } from './secured-broker.ts';
import type { Site } from './secured-broker.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const execute = promisify(execFile);
const token = 'a-token-of-two-dozen-letters';
let site: Site;
let broker: NatsServer;
let worker: WorkerProcess;

const http = () => ({
  push_token: token,
  tls: { cert_file: site.file('server.pem'), key_file: site.file('server.key') },
});

beforeAll(async () => {
  site = makeSite();
  broker = await startNatsServer({ jetstream: true });
  worker = await startWorkerProcess(broker.url, JSON.stringify({ http: http() }));
});
afterAll(async () => {
  await worker?.stop();
  await broker?.stop();
  site?.remove();
});

/** As an operator's script would: the status and the body. */
async function curl(path: string, ...more: readonly string[]): Promise<{ status: number; body: string }> {
  const trust = ['--silent', '--show-error', '--cacert', site.file('ca.pem')];
  const { stdout } = await execute('curl', [...trust, '-w', '\n%{http_code}', ...more, `${worker.url}${path}`]);
  const end = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
}

/** The serial number of the certificate that the port shows on this agent's connection. */
function shown(agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(`${worker.url}/healthz`, { agent, ca: readFileSync(site.file('ca.pem')) }, (response) => {
      const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate();
      response.resume().once('end', () => resolve(serialNumber));
    });
    asked.once('error', reject).end();
  });
}

const fresh = () => new Agent({ maxCachedSessions: 0 });
const serialOf = (name: string) => new X509Certificate(readFileSync(site.file(name))).serialNumber;

describe('the HTTP port with TLS', () => {
  it('gives metrics and health to who trusts its authority', async () => {
    expect(worker.url).toMatch(/^https:/);
    expect((await curl('/metrics')).body).toMatch(/^warder_build_info\{/m);
    expect(await curl('/healthz')).toEqual({ status: 200, body: '{"alive":true}' });
    expect(await curl('/readyz')).toMatchObject({ status: 200 });
  });

  it('is not believed by who does not, and says nothing in clear', async () => {
    await expect(execute('curl', ['--silent', '--show-error', `${worker.url}/healthz`])).rejects.toThrow(/certificate/);
    await expect(fetch(`${worker.url.replace('https:', 'http:')}/metrics`)).rejects.toThrow('fetch failed');
    const old = ['--tls-max', '1.1', '--ciphers', 'DEFAULT@SECLEVEL=0', '--cacert', site.file('ca.pem')];
    await expect(execute('curl', ['-sS', ...old, `${worker.url}/healthz`])).rejects.toThrow(/alert protocol version/);
  });

  it.each([
    ['/mod_msg_filter/', '<flush jid="alice@localhost"/>'],
    ['/roster_admin/refresh', '[]'],
  ])('takes what is pushed to %s, from elsewhere with the token', async (path, body) => {
    const post = ['--data-binary', body, '-H', 'X-Forwarded-For: 192.0.2.1'];
    expect(await curl(path, ...post)).toMatchObject({ status: 401 });
    expect(await curl(path, ...post, '-H', `Authorization: Bearer ${token}`)).toMatchObject({
      status: 200,
      body: expect.stringContaining('ok') as unknown,
    });
  });

  it('shows a renewed certificate to new connections, and goes on with those that stand', async () => {
    const standing = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = serialOf('server.pem');
    expect(await shown(standing)).toBe(first);

    // Both by rename, the key last, as tools that renew do; in between they do not belong together.
    site.keys('certificate', 'next', 'localhost', '127.0.0.1');
    for (const ending of ['pem', 'key']) {
      copyFileSync(site.file(`next.${ending}`), site.file(`new.${ending}`));
      renameSync(site.file(`new.${ending}`), site.file(`server.${ending}`));
    }
    await worker.waitForOutput(/certificate replaced/);
    expect(await shown(fresh())).toBe(serialOf('next.pem'));
    expect(await shown(standing)).toBe(first);
    standing.destroy();
  });

  it('keeps what it has when the new one is unusable, and says so', async () => {
    const before = await shown(fresh());
    writeFileSync(site.file('server.pem'), 'no certificate');
    await worker.waitForOutput(/no start line[^]*not replaced/);
    expect(await shown(fresh())).toBe(before);
    copyFileSync(site.file('next.pem'), site.file('server.pem'));
  });

  it('keeps a worker from starting with a certificate and the key of another, and it says which', async () => {
    site.keys('certificate', 'other', 'localhost');
    const settings = { ...http(), tls: { cert_file: site.file('next.pem'), key_file: site.file('other.key') } };
    await expect(startWorkerProcess(broker.url, JSON.stringify({ http: settings }))).rejects.toThrow(
      /code 1[^]*error: http\.tls: \S+next\.pem and \S+other\.key are no certificate with its key/,
    );
  });
});
