import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import type { PushedRefresh } from '../../src/checks/pushed-refresh.ts';
import { startHttp } from '../../src/http/server.ts';
import { Health } from '../../src/observe/health.ts';

const up = () => true;
const stops: (() => Promise<void>)[] = [];
const done: PushedRefresh = { status: 'ok', message: 'roster update complete', updated: 1, errors: 0, failed: {} };

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function start({
  token,
  answer = done,
  isReady = true,
}: { token?: string; answer?: PushedRefresh; isReady?: boolean } = {}) {
  const asked: (readonly string[])[] = [];
  const refresh = async (users: readonly string[]) => {
    asked.push(users);
    return isReady ? answer : undefined;
  };
  const health = new Health({ running: up, configuration: up, nats: up, subscribed: up, freshness: up, self_test: up });
  const push = { token, timeoutMs: 1_000, publish: async () => 1, refresh };
  const server = await startHttp({
    listen: '127.0.0.1:0',
    log: pino({ level: 'silent' }),
    registry: new Registry(),
    health,
    push,
  });
  stops.push(() => server.stop());
  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/roster_admin/refresh`, { method: 'POST', body, headers });
  return { asked, post };
}

describe('POST /roster_admin/refresh', () => {
  it.each([
    ['application/json', 'application/json'],
    ['what curl sends', 'application/x-www-form-urlencoded'],
    ['none that is known', 'text/x-roster'],
  ])('hands on names and JIDs, whatever the content type: %s', async (_what, type) => {
    const { asked, post } = await start();
    const response = await post(' ["alice", "bob@example.org"]\n', { 'Content-Type': type });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'ok', message: 'roster update complete', updated: 1, errors: 0 });
    expect(asked).toEqual([['alice', 'bob@example.org']]);
  });

  it('says beside the numbers who failed and why', async () => {
    const failed = { 'bob@example.org': 'source-unavailable' };
    const answer: PushedRefresh = { ...done, errors: 1, failed };
    const { post } = await start({ answer });
    expect(await (await post('["alice", "bob"]')).json()).toEqual(answer);
  });

  it.each([
    ['nothing', '', 'the body is empty'],
    ['white space', ' \n', 'the body is empty'],
    ['broken JSON', '{bad', 'the body is no JSON'],
    ['an array without its end', '["alice"', 'the body is no JSON'],
    ['null', 'null', 'the body is no array'],
    ['false', 'false', 'the body is no array'],
    ['a string', '"x"', 'the body is no array'],
    ['a number', '7', 'the body is no array'],
    ['an object', '{}', 'the body is no array'],
    ['an object that looks like an array', '{"0":"alice","length":1}', 'the body is no array'],
    ['a number in the array', '[5]', 'number 1 of the array is no string'],
    ['null behind a user', '["alice", null]', 'number 2 of the array is no string'],
    ['an array in the array', '["alice", ["bob"]]', 'number 2 of the array is no string'],
    ['an object in the array', '[{"user":"alice"}]', 'number 1 of the array is no string'],
    ['thousands of brackets', '['.repeat(100_000), 'the body is no JSON'],
  ])('%s is answered 400, says what would be right, and refreshes nobody', async (_what, body, problem) => {
    const { asked, post } = await start();
    const response = await post(body);
    expect(response.status).toBe(400);
    const { status, message } = (await response.json()) as { status: string; message: string };
    expect([status, message.startsWith(problem)]).toEqual(['error', true]);
    expect(message).toContain('must be a JSON array of user names or bare JIDs: ["alice", "bob@example.org"]');
    expect(asked).toEqual([]);
  });

  it('has room for 10,000 long JIDs, and names the bound for more users than one call may hold', async () => {
    const { asked, post } = await start();
    const long = Array.from({ length: 10_000 }, (_, index) => `${'a'.repeat(500)}${index}@rosters.example.org`);
    expect((await post(JSON.stringify(long))).status).toBe(200);
    expect(asked.map(({ length }) => length)).toEqual([10_000]);
    const many = await post(JSON.stringify(Array.from({ length: 100_001 }, (_, index) => `u${index}`)));
    expect([many.status, await many.json()]).toEqual([
      413,
      { status: 'error', message: expect.stringContaining('send at most 100000') },
    ]);
    const large = await post(`["${'a'.repeat(9_000_000)}"]`);
    expect([large.status, await large.json()]).toEqual([
      413,
      { status: 'error', message: 'Request body is too large' },
    ]);
    expect(asked).toHaveLength(1);
  });

  it('is told to come again by a worker that is only starting', async () => {
    const { post } = await start({ isReady: false });
    const response = await post('["alice"]');
    expect([response.status, ((await response.json()) as { status: string }).status]).toEqual([503, 'error']);
  });

  it('behind a proxy nobody may push without a token, and with one only by it', async () => {
    const forwarded = { 'X-Forwarded-For': '192.0.2.1' };
    const open = await start();
    expect((await open.post('["alice"]', forwarded)).status).toBe(403);
    const guarded = await start({ token: 'a-long-secret-token' });
    const missing = await guarded.post('["alice"]', forwarded);
    expect([missing.status, missing.headers.get('WWW-Authenticate')]).toEqual([401, 'Bearer']);
    const wrong = await guarded.post('["alice"]', { ...forwarded, Authorization: 'Bearer nonsense' });
    expect(wrong.status).toBe(401);
    expect([...open.asked, ...guarded.asked]).toEqual([]);
    const right = await guarded.post('["alice"]', { ...forwarded, Authorization: 'Bearer a-long-secret-token' });
    expect(right.status).toBe(200);
    expect(guarded.asked).toHaveLength(1);
  });
});
