import { afterEach, describe, expect, it } from 'vitest';
import { startNatsProbe } from './nats-probe.ts';
import { startNatsServer } from './nats-server.ts';

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

  it.each([
    ['warder_nats_url = "http://localhost"', /begins with nats:\/\/ or tls:\/\/, not with http:\/\//],
    ['warder_nats_url = { "nats://a", "nats://b:x" }', /not a NATS URL: nats:\/\/b:x/],
    ['warder_nats_tls = { cafile = "ca.pem" }', /warder_nats_tls knows no cafile; it takes ca_file/],
    ['warder_nats_tls = { ca_file = 5 }', /ca_file in warder_nats_tls must be a string/],
    ['warder_nats_tls = { cert_file = "c.pem" }', /needs cert_file and key_file together/],
    ['warder_nats_tls = "yes"', /warder_nats_tls must be true or a table/],
    ['warder_nats_ping_interval = 0', /ping_interval must be a number over 0/],
    ['warder_nats_inbox = "a.b"', /the inbox name may contain letters, digits, _ and - only/],
  ])('is none with %s, and the log says why', async (option, reason) => {
    const { probe, on } = await startHosts(() => option);
    expect(await on('one.test', 'acquire')).toEqual({ acquired: false });
    const [line = ''] = probe.output().match(/.*nothing can be asked.*/) ?? [];
    expect(line).toMatch(/error/);
    expect(line).toMatch(reason);
  });

  it('does not keep Prosody from ending, whether the broker is there or not', async () => {
    for (const kill of [false, true]) {
      const { server, probe, on } = await startHosts(url);
      await on('one.test', 'acquire');
      await on('one.test', 'until_connected');
      if (kill) await server.kill();
      expect(await probe.stop()).toEqual({ code: 0, signal: null });
      if (!kill) expect(probe.output()).toContain('Closed the connection to NATS');
    }
  });
});
