import { createServer } from 'node:http';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import type { Change } from '../../src/changes.ts';
import { startHttp } from '../../src/http/server.ts';
import { Health } from '../../src/observe/health.ts';

const up = () => true;
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function start({
  token,
  fails = false,
  listen = '127.0.0.1:0',
}: { token?: string; fails?: boolean; listen?: string } = {}) {
  const published: Change[] = [];
  const publish = async (change: Change) => {
    if (fails) throw new Error('no acknowledgement');
    published.push(change);
    return 1_700_000_000_001;
  };
  const health = new Health({ running: up, configuration: up, nats: up, subscribed: up, freshness: up, self_test: up });
  const server = await startHttp({
    listen,
    log: pino({ level: 'silent' }),
    registry: new Registry(),
    health,
    push: { token, timeoutMs: 1_000, publish, refresh: async () => undefined },
  });
  stops.push(() => server.stop());
  const flush = (body: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/mod_msg_filter/`, { method: 'POST', body, headers });
  return { published, flush, url: server.url };
}

describe('POST /mod_msg_filter/', () => {
  it.each([
    ['as a well-formed element', '<flush jid="user@domain.example"/>'],
    ['unclosed, as its author wrote it', '<flush jid="user@domain.example">'],
    ['with a closing tag and white space', "\n<flush jid='USER@domain.example'></flush>\n"],
  ])('a flush %s is a change of the user, and answers its number', async (_how, body) => {
    const { published, flush } = await start();
    const response = await flush(body);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'ok', token: 1_700_000_000_001 });
    expect(published).toEqual([{ user: 'user@domain.example' }]);
  });

  it.each([
    ['nothing', ''],
    ['no XML', 'jid=user@domain'],
    ['something else', '<clear jid="user@domain.example"/>'],
    ['no jid', '<flush/>'],
    ['a full JID', '<flush jid="user@domain.example/phone"/>'],
    ['no JID', '<flush jid="@"/>'],
    ['two elements', '<flush jid="a@b.example"/><flush jid="c@b.example"/>'],
    ['a document type', '<!DOCTYPE x [<!ENTITY a "b">]><flush jid="a@b.example"/>'],
  ])('%s is answered 400 with a reason and flushes nothing', async (_what, body) => {
    const { published, flush } = await start();
    const response = await flush(body);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { message: string }).message).not.toBe('');
    expect(published).toEqual([]);
  });

  it('a body over the limit is answered 413', async () => {
    const { published, flush } = await start();
    expect((await flush(`<flush jid="${'a'.repeat(20_000)}@b.example"/>`)).status).toBe(413);
    expect(published).toEqual([]);
  });

  it('what the stream does not acknowledge is answered 503', async () => {
    const { flush } = await start({ fails: true });
    expect((await flush('<flush jid="a@b.example"/>')).status).toBe(503);
  });

  it('behind a proxy nobody may push without a token, and with one only by it', async () => {
    const open = await start();
    expect((await open.flush('<flush jid="a@b.example"/>', { 'X-Forwarded-For': '192.0.2.1' })).status).toBe(403);
    const guarded = await start({ token: 'a-long-secret-token' });
    const forwarded = { 'X-Forwarded-For': '192.0.2.1' };
    const missing = await guarded.flush('<flush jid="a@b.example"/>', forwarded);
    expect([missing.status, missing.headers.get('WWW-Authenticate')]).toEqual([401, 'Bearer']);
    const wrong = await guarded.flush('<flush jid="a@b.example"/>', { ...forwarded, Authorization: 'Bearer nonsense' });
    expect(wrong.status).toBe(401);
    const right = await guarded.flush('<flush jid="a@b.example"/>', {
      ...forwarded,
      Authorization: 'Bearer a-long-secret-token',
    });
    expect(right.status).toBe(200);
    expect(guarded.published).toHaveLength(1);
  });

  it('metrics and health never need a token', async () => {
    const { url } = await start({ token: 'a-long-secret-token' });
    const forwarded = { headers: { 'X-Forwarded-For': '192.0.2.1' } };
    for (const path of ['/metrics', '/healthz', '/readyz'])
      expect((await fetch(url + path, forwarded)).status).toBe(200);
  });

  it('a port that is taken is named, with what to do', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    stops.push(() => new Promise((resolve) => holder.close(() => resolve())));
    const address = holder.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(start({ listen: `127.0.0.1:${port}` })).rejects.toThrow(`127.0.0.1:${port} is taken`);
  });
});
