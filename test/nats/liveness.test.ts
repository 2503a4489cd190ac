import { setImmediate as checkPhase } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Liveness } from '../../src/nats/liveness.ts';
import { ManualClock } from '../clock.ts';

function setUp() {
  const clock = new ManualClock();
  const pongs: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const liveness = new Liveness(clock, () => new Promise((resolve, reject) => pongs.push({ resolve, reject })));
  return { clock, pongs, liveness };
}

describe('liveness', () => {
  it('a tick on time counts only once the sockets have been read', async () => {
    const { clock, liveness } = setUp();
    const before = liveness.aliveAtMs;
    clock.advance(20);
    liveness.tick();
    expect(liveness.aliveAtMs).toBe(before);
    await checkPhase();
    expect(liveness.aliveAtMs).toBe(before + 20);
  });

  it('after a stall what is read counts from before it, until the broker has answered a ping', async () => {
    const { clock, pongs, liveness } = setUp();
    const before = liveness.aliveAtMs;
    clock.advance(5_000);
    liveness.tick();
    await checkPhase();
    clock.advance(20);
    liveness.tick();
    await checkPhase();
    expect(liveness.aliveAtMs).toBe(before);
    expect(liveness.stalls).toBe(1);
    pongs[0]?.resolve();
    await checkPhase();
    expect(liveness.aliveAtMs).toBe(before + 5_020);
  });

  it('a connection that was lost during the stall has no backlog to wait for', async () => {
    const { clock, pongs, liveness } = setUp();
    clock.advance(5_000);
    liveness.tick();
    pongs[0]?.reject(new Error('disconnected'));
    await checkPhase();
    expect(liveness.aliveAtMs).toBe(clock.now());
  });
});
