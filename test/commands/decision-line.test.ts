import { describe, expect, it } from 'vitest';
import { decisionLine } from '../../src/commands/decision-line.ts';
import type { Paint } from '../../src/commands/terminal.ts';
import type { Told } from '../../src/nats/watched.ts';

const plain: Paint = (_colour, text) => text;
const at = new Date(2026, 0, 2, 3, 4, 5);

function lineOf(more: Partial<Told>, columns?: number): string {
  const told: Told = {
    operation: 'join-check',
    verdict: 'deny',
    remembered: false,
    took_ms: 2,
    source: 'rooms',
    ...more,
  };
  return decisionLine(told, at, plain, columns);
}

describe('a decision in words', () => {
  it('is one line where it fits', () => {
    const request = { user: 'alice@localhost/phone', room: 'lobby@rooms.localhost' };
    expect(lineOf({ request, reason: 'list 7' }, 80)).toBe(
      '03:04:05 join    deny   alice@localhost → lobby@rooms.localhost (rooms, 2.0 ms)\n         list 7',
    );
    expect(lineOf({ request, reason: 'list 7' })).toBe(
      '03:04:05 join    deny   alice@localhost → lobby@rooms.localhost (rooms, 2.0 ms) list 7',
    );
  });

  it('breaks between addresses and never in one, however long it is', () => {
    const long = `${'x'.repeat(100)}@example.org`;
    const request = { user: `alice.with.a.long.name@department.example.org/phone`, room: long };
    expect(lineOf({ request, reason: 'some words that say why, in a sentence that takes more than is left' }, 80)).toBe(
      `03:04:05 join    deny   alice.with.a.long.name@department.example.org
         → ${long}
         (rooms, 2.0 ms) some words that say why, in a sentence that takes more
         than is left`,
    );
  });

  it('takes no more than 80 columns for usual addresses of every operation', () => {
    const user = 'somebody.with.a.name@chat.example.org';
    const contact = 'another.of.that.kind@elsewhere.example.net';
    const requests: Partial<Told>[] = [
      { operation: 'stanza-check', request: { from: user, to: contact, kind: 'presence' } },
      { operation: 'session-check', request: { user } },
      { operation: 'roster-set', request: { user, contact, remove: true } },
      { operation: 'roster-subscription', request: { user, contact, direction: 'in', action: 'subscribed' } },
      { operation: 'roster-refresh', verdict: 'errors', request: { users: [user, contact, user], users_total: 4_000 } },
      { operation: 'user-removed', verdict: 'failed', failure: 'source-unavailable', request: { user } },
    ];
    for (const one of requests) {
      const line = lineOf({ ...one, reason: 'because of what the application has answered to the question' }, 80);
      expect(Math.max(...line.split('\n').map((part) => part.length))).toBeLessThanOrEqual(80);
      expect(line).toContain(user);
    }
  });

  it('cannot be steered by what stands in it', () => {
    const request = { user: 'a\u001b[2J@x', room: 'r\n@y' };
    expect(lineOf({ request, reason: '\u0007', source: 's\u202e' })).toBe(
      '03:04:05 join    deny   a\\u001b[2J@x → r\\n@y (s\\u202e, 2.0 ms) \\u0007',
    );
  });
});
