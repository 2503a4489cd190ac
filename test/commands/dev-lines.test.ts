import { describe, expect, it } from 'vitest';
import { answeredLine, logLine } from '../../src/commands/dev-lines.ts';
import type { Paint } from '../../src/commands/terminal.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { Answered } from '../../src/nats/serve.ts';
import { parseJid } from '../../src/wire/jid.ts';

const plain: Paint = (_colour, text) => text;
const { operations } = parseConfig(
  `sources: { policy: { type: static, file: p }, other: { type: static, file: p } }
operations: { stanza-check: { sources: { b.example: other, '*': policy } }, join-check: { sources: policy } }`,
  'w.yaml',
  {},
);
const now = new Date(2026, 0, 2, 3, 4, 5);
const envelope = { v: 1, id: 'i', seq: 0, age_ms: 0 } as const;
const kept = { ...envelope, ttl_ms: 5, scope: 'pair' } as const;
const stanza = { from: parseJid('a@a.example/x'), to: parseJid('b@b.example'), kind: 'message', hook: 'send' };
const answered = { operation: 'stanza-check', request: stanza, tookMs: 0.0412, isAtOnce: false } as const;

describe('answeredLine', () => {
  it.each<{ name: string; given: Answered; want: string }>([
    {
      name: 'an allow with its reason',
      given: { ...answered, reply: { ...kept, verdict: 'allow', reason: 'why\u001b' } },
      want: '03:04:05 stanza  allow  a@a.example → b@b.example (policy, 41 µs) why\\u001b',
    },
    {
      name: 'one that was remembered',
      given: { ...answered, isAtOnce: true, reply: { ...kept, verdict: 'allow' } },
      want: '03:04:05 stanza  allow  a@a.example → b@b.example (policy, remembered, 41 µs)',
    },
    {
      name: 'the source of the recipient for what arrives',
      given: { ...answered, request: { ...stanza, hook: 'receive', kind: 'iq' }, reply: { ...kept, verdict: 'drop' } },
      want: '03:04:05 stanza  drop   a@a.example → b@b.example iq (other, 41 µs)',
    },
    {
      name: 'a fallback',
      given: {
        ...answered,
        reply: { ...kept, verdict: 'deny', error: { text: 'No.' }, degraded: 'source-unavailable' },
      },
      want: '03:04:05 stanza  deny   a@a.example → b@b.example (policy, 41 µs) fallback, source-unavailable; No.',
    },
    {
      name: 'a failure',
      given: { ...answered, tookMs: 250, reply: 'source-unavailable' },
      want: '03:04:05 stanza  FAILED source-unavailable a@a.example → b@b.example (policy, 250 ms)',
    },
    {
      name: 'what could not be read',
      given: { ...answered, request: undefined, reply: 'bad-request' },
      want: '03:04:05 stanza  FAILED bad-request a request that could not be read (policy, 41 µs)',
    },
    {
      name: 'rosters, some of them missing',
      given: {
        ...answered,
        operation: 'roster-refresh',
        request: { users: ['a@x', 'b@x', 'c@x', 'd@x'] },
        reply: {
          ...envelope,
          status: 'ok',
          message: '',
          updated: 3,
          errors: 1,
          rosters: {},
          failed: { 'd@x': 'gone' },
        },
      },
      want: '03:04:05 roster  errors a@x, b@x, c@x and 1 more (no source, 41 µs) d@x: gone',
    },
  ])('says $name', ({ given, want }) => {
    expect(answeredLine(given, operations, plain, now)).toBe(want);
  });
});

describe('logLine', () => {
  const line = (event: object) =>
    logLine(JSON.stringify({ time: '2026-01-02T03:04:05.000Z', ...event }), plain)?.slice(9);
  it('says warnings and errors with what belongs to them', () => {
    expect(line({ level: 40, msg: 'source unavailable', outcome: 'timeout' })).toBe(
      'warning: source unavailable, outcome timeout',
    );
    expect(line({ level: 50, msg: 'failed', err: { type: 'Error', message: 'x' }, n: 1 })).toBe(
      'error: failed, err x, n 1',
    );
  });

  it("says the sources' news and leaves out what else goes well", () => {
    expect(line({ level: 30, msg: 'policy loaded', source: 'policy' })).toBe('note: policy loaded, source policy');
    expect(line({ level: 30, msg: 'worker ready' })).toBeUndefined();
  });
});
