import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { QueueMembership } from '../../src/nats/queue-membership.ts';
import { ManualClock } from '../clock.ts';

function setUp(maxLagMs = 500) {
  const clock = new ManualClock();
  const said: string[] = [];
  const others = { serve: true };
  const membership = new QueueMembership({
    clock,
    maxLagMs,
    othersServe: () => others.serve,
    leave: () => said.push('leave'),
    join: () => said.push('join'),
  });
  /** The loop runs for so long. */
  const run = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 20) {
      clock.advance(20);
      membership.looped(0);
    }
  };
  const stall = (ms: number) => {
    clock.advance(ms);
    membership.looped(ms);
  };
  return { clock, said, others, membership, run, stall };
}

describe('membership in the queue group', () => {
  it('ends with one long stall, and begins again when the loop has run for a second', () => {
    const { said, membership, run, stall } = setUp();
    stall(600);
    expect([said, membership.isMember, membership.leaves]).toEqual([['leave'], false, 1]);
    run(980);
    expect(said).toEqual(['leave']);
    run(20);
    expect([said, membership.isMember]).toEqual([['leave', 'join'], true]);
  });

  it('ends with many short stalls within a second, and not with few', () => {
    const { said, run, stall } = setUp();
    for (let time = 0; time < 10; time += 1) {
      stall(200);
      run(1_000);
    }
    expect(said).toEqual([]);
    stall(200);
    stall(200);
    stall(200);
    expect(said).toEqual(['leave']);
  });

  it('does not end while nobody else serves, and begins again when nobody else does any more', () => {
    const { said, others, run, stall } = setUp();
    others.serve = false;
    stall(10_000);
    expect(said).toEqual([]);
    others.serve = true;
    stall(600);
    expect(said).toEqual(['leave']);
    others.serve = false;
    run(20);
    expect(said).toEqual(['leave', 'join']);
  });

  it('begins again after five seconds though the loop lags on, and lasts as long', () => {
    const { said, stall } = setUp();
    stall(600);
    for (let time = 0; time < 8; time += 1) stall(600);
    expect(said).toEqual(['leave']);
    stall(600);
    expect(said).toEqual(['leave', 'join']);
    for (let time = 0; time < 8; time += 1) stall(600);
    expect(said).toEqual(['leave', 'join']);
    stall(600);
    expect(said).toEqual(['leave', 'join', 'leave']);
  });

  it('never ends where 0 is the limit', () => {
    const { said, stall } = setUp(0);
    stall(60_000);
    expect(said).toEqual([]);
  });

  it('is never out for more than five seconds of running, nor out at all once nobody else serves', () => {
    const step = fc.record({ stalledMs: fc.constantFrom(0, 0, 0, 150, 400, 3_000), othersServe: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 500 }), (steps) => {
        const { clock, others, membership } = setUp();
        let leftAtMs = 0;
        for (const { stalledMs, othersServe } of steps) {
          clock.advance(20 + stalledMs);
          others.serve = othersServe;
          const before = membership.isMember;
          membership.looped(stalledMs);
          if (before && !membership.isMember) leftAtMs = clock.now();
          if (!membership.isMember) {
            expect(othersServe).toBe(true);
            expect(clock.now() - leftAtMs).toBeLessThan(5_000);
          }
        }
      }),
    );
  });
});
