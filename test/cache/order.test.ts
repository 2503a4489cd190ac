import { describe, expect, it } from 'vitest';
import { ChangeOrder } from '../../src/cache/order.ts';
import { Proof } from '../../src/cache/proof.ts';
import type { Subject } from '../../src/cache/stamps.ts';
import { ManualClock } from '../clock.ts';

const alice = { user: 'alice@localhost' };
const subject: Subject = { operation: 'stanza-check', jids: ['alice@localhost'], domains: ['localhost'] };
const other: Subject = { operation: 'stanza-check', jids: ['carol@localhost'], domains: ['localhost'] };

function numberedAt(sequence: number): ChangeOrder {
  const order = new ChangeOrder();
  order.connected('numbered');
  order.apply(sequence, undefined);
  return order;
}

describe('the order of changes', () => {
  it('the next number ends what it names and nothing else', () => {
    const order = numberedAt(100);
    order.apply(101, alice);
    expect(order.seen).toBe(101);
    expect(order.stamps.allow(100, subject)).toBe(false);
    expect(order.stamps.allow(100, other)).toBe(true);
    expect(order.stamps.allow(101, subject)).toBe(true);
  });

  it('a gap ends everything, and the order goes on from there', () => {
    const order = numberedAt(100);
    order.apply(102, undefined);
    expect(order.seen).toBe(102);
    expect(order.stamps.allow(101, other)).toBe(false);
    expect(order.stamps.allow(102, other)).toBe(true);
    expect(order.counts.gaps).toBe(1);
  });

  it('a lower number ends everything, also what is being looked up, and never lowers what was seen', () => {
    const order = numberedAt(100);
    order.apply(99, alice);
    expect(order.seen).toBe(100);
    expect(order.stamps.allow(100, other)).toBe(false);
    order.apply(101, undefined);
    expect(order.stamps.allow(101, other)).toBe(true);
  });

  it('the same number again ends nothing', () => {
    const order = numberedAt(100);
    order.apply(101, alice);
    order.apply(101, alice);
    expect(order.seen).toBe(101);
    expect(order.stamps.allow(101, subject)).toBe(true);
    expect(order.counts.gaps).toBe(0);
  });

  it('what is heard before its number is dropped at once, with what is being looked up', () => {
    const order = numberedAt(100);
    order.hear(alice);
    expect(order.seen).toBe(100);
    expect(order.stamps.allow(100, subject)).toBe(false);
    expect(order.stamps.allow(100, other)).toBe(true);
    order.apply(101, alice);
    expect(order.stamps.allow(101, subject)).toBe(true);
  });

  it('a new connection ends everything and settles with its first number', () => {
    const order = numberedAt(100);
    order.connected('numbered');
    expect(order.isSettled).toBe(false);
    expect(order.stamps.allow(100, other)).toBe(false);
    order.apply(150, undefined);
    expect(order.isSettled).toBe(true);
    expect(order.stamps.allow(150, other)).toBe(true);
    expect(order.counts.gaps).toBe(0);
  });

  it('a new connection whose first number is an old one trusts nothing from before', () => {
    const order = numberedAt(100);
    order.connected('numbered');
    order.apply(40, undefined);
    expect(order.seen).toBe(100);
    expect(order.stamps.allow(100, other)).toBe(false);
    order.apply(101, undefined);
    expect(order.stamps.allow(101, other)).toBe(true);
  });

  it('without JetStream it counts by itself, and says nothing of that count', () => {
    const order = new ChangeOrder();
    order.connected('counted');
    const before = order.floorFor(0);
    order.hear(alice);
    expect(order.seen).toBe(0);
    expect(order.stamps.allow(before, subject)).toBe(false);
    expect(order.stamps.allow(order.floorFor(0), subject)).toBe(true);
  });

  it('the first number ends what was counted', () => {
    const order = numberedAt(100);
    order.connected('counted');
    order.hear(alice);
    const counted = order.floorFor(0);
    order.connected('numbered');
    order.apply(101, undefined);
    expect(order.seen).toBe(101);
    expect(order.stamps.allow(counted, other)).toBe(false);
    order.apply(200, undefined);
    expect(order.stamps.allow(200, other)).toBe(true);
  });

  it('what is good for a number that only others have seen is dropped by a change without number, too', () => {
    const order = numberedAt(100);
    order.acknowledge(105);
    const floor = order.floorFor(103);
    order.hear(alice);
    expect(order.stamps.allow(floor, subject)).toBe(false);
    order.connected('numbered');
    expect(order.stamps.allow(floor, other)).toBe(false);
  });
});

describe('the proof of freshness', () => {
  it('an acknowledged tick proves from when it was sent, not from when the acknowledgement came', () => {
    const clock = new ManualClock();
    const order = numberedAt(100);
    const proof = new Proof(order, clock, 2_000);
    const sentAtMs = clock.now();
    clock.advance(700);
    order.apply(101, undefined);
    proof.acknowledge(101, sentAtMs);
    expect(proof.ageMs).toBe(700);
  });

  it('an acknowledgement proves nothing until its number has been seen', () => {
    const clock = new ManualClock();
    const order = numberedAt(100);
    const proof = new Proof(order, clock, 2_000);
    proof.acknowledge(102, clock.now());
    expect(proof.isRecent()).toBe(false);
    order.apply(101, undefined);
    expect(proof.isRecent()).toBe(false);
    order.apply(102, undefined);
    expect(proof.isRecent()).toBe(true);
  });

  it('an older tick that is acknowledged late does not take a newer proof back', () => {
    const clock = new ManualClock();
    const order = numberedAt(100);
    const proof = new Proof(order, clock, 2_000);
    const earlyMs = clock.now();
    clock.advance(500);
    proof.acknowledge(100, clock.now());
    proof.acknowledge(99, earlyMs);
    expect(proof.ageMs).toBe(0);
  });
});
