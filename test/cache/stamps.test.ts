import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Stamps } from '../../src/cache/stamps.ts';
import type { Subject } from '../../src/cache/stamps.ts';
import type { Change } from '../../src/changes.ts';

const pair: Subject = {
  operation: 'stanza-check',
  jids: ['alice@a.example', 'bob@b.example'],
  domains: ['a.example', 'b.example'],
};

describe('stamps', () => {
  const touching: [string, Change][] = [
    ['the user on either side', { user: 'bob@b.example' }],
    ['a room of that address', { room: 'alice@a.example' }],
    ['a domain', { domain: 'b.example' }],
    ['the operation', { operation: 'stanza-check' }],
    ['everything', { all: true }],
  ];
  it.each(touching)('an invalidation of %s ends what is older and spares what is as new', (_what, change) => {
    const stamps = new Stamps(10);
    stamps.set(change, 5);
    expect(stamps.allow(4, pair)).toBe(false);
    expect(stamps.allow(5, pair)).toBe(true);
  });

  it('an invalidation of somebody else changes nothing', () => {
    const stamps = new Stamps(10);
    stamps.set({ user: 'carol@a.example' }, 5);
    stamps.set({ domain: 'c.example' }, 6);
    stamps.set({ operation: 'join-check' }, 7);
    expect(stamps.allow(0, pair)).toBe(true);
  });

  it('an older invalidation that comes late does not lower a stamp', () => {
    const stamps = new Stamps(10);
    stamps.set({ user: 'alice@a.example' }, 9);
    stamps.set({ user: 'alice@a.example' }, 3);
    expect(stamps.allow(8, pair)).toBe(false);
  });

  it('a full table forgets more than was asked and never less', () => {
    const stamps = new Stamps(3);
    for (let sequence = 1; sequence <= 4; sequence += 1) stamps.set({ user: `u${sequence}@c.example` }, sequence);
    expect(stamps.allow(3, pair)).toBe(false);
    expect(stamps.allow(4, pair)).toBe(true);
  });

  it('whatever comes in whatever order, what was invalidated after its floor is never allowed', () => {
    const change = fc.oneof(
      fc.constantFrom('alice@a.example', 'bob@b.example', 'x@c.example').map((user): Change => ({ user })),
      fc.constantFrom('a.example', 'c.example').map((domain): Change => ({ domain })),
      fc.constant<Change>({ operation: 'stanza-check' }),
      fc.constant<Change>({ all: true }),
    );
    const touches = (one: Change) =>
      'all' in one ||
      'operation' in one ||
      ('user' in one && pair.jids.includes(one.user)) ||
      ('domain' in one && pair.domains.includes(one.domain));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(change, fc.nat(50))),
        fc.nat(50),
        fc.integer({ min: 1, max: 4 }),
        (changes, floor, max) => {
          const stamps = new Stamps(max);
          for (const [one, sequence] of changes) stamps.set(one, sequence);
          const ended = changes.some(([one, sequence]) => touches(one) && sequence > floor);
          if (ended) expect(stamps.allow(floor, pair)).toBe(false);
        },
      ),
    );
  });
});
