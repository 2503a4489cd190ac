import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CallQueue, NoPlace } from '../../src/sources/call-queue.ts';
import { ManualClock } from '../clock.ts';

function setUp(max: number, maxQueued: number) {
  const clock = new ManualClock();
  const queue = new CallQueue(max, maxQueued, () => clock.now());
  const under: { end: () => void }[] = [];
  let begun = 0;
  const call = (untilMs = Infinity, signal = new AbortController().signal) => {
    const outcome = queue.run(
      () => {
        begun += 1;
        return new Promise<string>((resolve) => under.push({ end: () => resolve('done') }));
      },
      { signal, untilMs: () => untilMs },
    );
    return outcome.catch((error: unknown) => (error instanceof NoPlace ? 'no place' : 'abandoned'));
  };
  /** The call that began first ends, and whatever follows from that has happened. */
  const end = async () => {
    under.shift()?.end();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, queue, call, end, begun: () => begun };
}

describe('the queue of a source', () => {
  it('lets so many calls in, so many wait, and refuses the next', async () => {
    const { queue, call, begun } = setUp(2, 1);
    const calls = [call(), call(), call(), call()];
    expect(await calls[3]).toBe('no place');
    expect([begun(), queue.inFlight, queue.queued]).toEqual([2, 2, 1]);
  });

  it('refuses at once whom it could not answer in time, by how long calls take', async () => {
    const { clock, call, end } = setUp(1, 100);
    const first = call();
    clock.advance(50);
    await end();
    expect(await first).toBe('done');
    // From now on one call takes 50 ms: the second is answered after 100 ms, the third after 150 ms.
    const asked = clock.now();
    void call(asked + 120);
    const second = call(asked + 120);
    expect(await call(asked + 120)).toBe('no place');
    clock.advance(50);
    await end();
    clock.advance(50);
    await end();
    expect(await second).toBe('done');
  });

  it('does not begin what has waited too long after all', async () => {
    const { clock, call, end, begun } = setUp(1, 100);
    const asked = clock.now();
    void call();
    const late = call(asked + 80);
    const patient = call(asked + 1_000);
    clock.advance(100);
    await end();
    expect(await late).toBe('no place');
    expect(begun()).toBe(2);
    await end();
    expect(await patient).toBe('done');
  });

  it('begins a call where a place is free, however long calls took before', async () => {
    const { clock, call, end, begun } = setUp(1, 0);
    void call();
    clock.advance(10_000);
    await end();
    void call(clock.now() + 100);
    expect(begun()).toBe(2);
  });

  it('gives no place to who has gone, and keeps none for him', async () => {
    const { queue, call, end, begun } = setUp(1, 1);
    void call();
    const gone = new AbortController();
    const waiting = call(Infinity, gone.signal);
    gone.abort();
    expect(await waiting).toBe('abandoned');
    expect(queue.queued).toBe(0);
    const next = call();
    await end();
    expect(begun()).toBe(2);
    await end();
    expect(await next).toBe('done');
  });

  it('never has more under way than places, nor a free place while somebody waits who has time', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('call' as const), patienceMs: fc.integer({ min: 0, max: 300 }) }),
      fc.record({ kind: fc.constant('end' as const), tookMs: fc.integer({ min: 0, max: 100 }) }),
      fc.record({ kind: fc.constant('go' as const), which: fc.nat(20) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), async (max, steps) => {
        const { clock, queue, call, end } = setUp(max, 5);
        const askers: AbortController[] = [];
        for (const one of steps) {
          if (one.kind === 'call') {
            const asker = new AbortController();
            askers.push(asker);
            void call(clock.now() + one.patienceMs, asker.signal);
          } else if (one.kind === 'end') {
            clock.advance(one.tookMs);
            await end();
          } else askers[one.which]?.abort();
          expect(queue.inFlight).toBeLessThanOrEqual(max);
          expect(queue.queued).toBeLessThanOrEqual(5);
          expect(queue.queued === 0 || queue.inFlight === max).toBe(true);
        }
        for (let left = steps.length; left > 0; left -= 1) await end();
        expect([queue.inFlight, queue.queued]).toEqual([0, 0]);
      }),
    );
  });
});
