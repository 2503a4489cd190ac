import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Change } from '../../src/changes.ts';
import { News, usersIn } from '../../src/sources/roster-sql-news.ts';
import { ManualClock } from '../clock.ts';

const everybody = { operation: 'roster-refresh' };

describe('a notification', () => {
  it.each([
    ['alice@localhost', ['alice@localhost']],
    [' ALICE@LocalHost\n', ['alice@localhost']],
    ['Alice', ['alice@example.org']],
    ['a@x b@y\nc\t', ['a@x', 'b@y', 'c@example.org']],
    ['', undefined],
    [' \n', undefined],
    ['@', undefined],
    ['a@x b@', undefined],
    ['a@x/phone', undefined],
    ['{"user":"alice"}', undefined],
    ['\u0000', undefined],
  ])('%j names %j', (payload, users) => {
    expect(usersIn(payload, 'example.org')).toEqual(users);
  });

  it('with a user name alone names nobody where no host is known', () => {
    expect(usersIn('alice', undefined)).toBeUndefined();
  });
});

describe('news', () => {
  let clock: ManualClock;
  let said: Change[];
  let acknowledge: (() => void)[];
  let news: News;
  const advance = (ms: number) => {
    clock.advance(ms);
    return vi.advanceTimersByTimeAsync(ms);
  };
  const acknowledgeAll = async () => {
    for (const done of acknowledge.splice(0)) done();
    await vi.advanceTimersByTimeAsync(0);
  };
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    clock = new ManualClock();
    said = [];
    acknowledge = [];
    const changed = (change: Change) => {
      said.push(change);
      return new Promise<void>((resolve) => acknowledge.push(resolve));
    };
    news = new News({ channel: 'c', defaultHost: 'x' }, { changed, clock, log: pino({ level: 'silent' }) });
  });
  afterEach(() => {
    news.stop();
    vi.useRealTimers();
  });

  it('says a user once who is announced often within a moment, and again afterwards', async () => {
    for (let i = 0; i < 10; i += 1) news.hear('a b');
    expect(said).toEqual([]);
    await advance(20);
    expect(said).toEqual([{ user: 'a@x' }, { user: 'b@x' }]);
    news.hear('a');
    await advance(20);
    expect(said).toHaveLength(3);
  });

  it('has no more changes on their way than the broker should have at once, and says them all', async () => {
    const users = Array.from({ length: 10_000 }, (_, index) => ({ user: `u${index}@x` }));
    for (const { user } of users) news.hear(user);
    await advance(20);
    expect(said).toHaveLength(64);
    while (acknowledge.length > 0) await acknowledgeAll();
    expect(said).toEqual(users);
  });

  it('knows since when something waits that nobody else knows', async () => {
    expect(news.waitingSinceMs).toBeUndefined();
    const atMs = clock.now();
    for (let index = 0; index < 65; index += 1) news.hear(`u${index}`);
    await advance(20);
    expect(news.waitingSinceMs).toBe(atMs);
    await acknowledgeAll();
    expect(news.waitingSinceMs).toBeUndefined();
  });

  it('says everybody in place of each, and at most once a second', async () => {
    for (let index = 0; index < 500; index += 1) {
      news.hear('a');
      news.hear('');
      await advance(10);
    }
    expect(said.every((change) => 'operation' in change)).toBe(true);
    expect(said.length).toBeGreaterThanOrEqual(5);
    expect(said.length).toBeLessThanOrEqual(6);
    await advance(1_000);
    expect(news.waitingSinceMs).toBeUndefined();
  });

  it('says everybody rather than more users than it should remember', async () => {
    for (let index = 0; index <= 100_000; index += 1) news.hear(`u${index}`);
    await advance(20);
    expect(said).toEqual([everybody]);
  });

  it('says nothing any more when it is stopped', async () => {
    news.hear('a');
    news.stop();
    news.hear('b');
    await advance(2_000);
    expect(said).toEqual([]);
  });
});
