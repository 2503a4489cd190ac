/** The order of changes on a real broker: followed, proved, lost and found again. */
import { connect, Events, headers, nanos, RetentionPolicy } from 'nats';
import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { ChangeOrder } from '../../src/cache/order.ts';
import { Proof } from '../../src/cache/proof.ts';
import { monotonicClock } from '../../src/clock.ts';
import { Invalidations } from '../../src/nats/invalidations.ts';
import { publishNumbered } from '../../src/nats/publish.ts';
import { invalidatedSubject, invalidateSubject, streamName } from '../../src/nats/stream.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';

const prefix = 'test.policy';
const alice = { user: 'alice@localhost' };
const subject = { operation: 'stanza-check' as const, jids: ['alice@localhost'], domains: ['localhost'] };

const releasers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const release of releasers.splice(0).toReversed()) await release();
});

async function startBroker(jetstream = true): Promise<NatsServer> {
  const broker = await startNatsServer({ jetstream });
  releasers.push(() => broker.stop());
  return broker;
}

interface Follower {
  readonly order: ChangeOrder;
  readonly proof: Proof;
  readonly invalidations: Invalidations;
  readonly nats: NatsConnection;
  /** Resolves when the condition holds after some number was applied. */
  until(condition: () => boolean): Promise<void>;
}

async function startFollower(broker: NatsServer, boundMs = 800): Promise<Follower> {
  const nats = await connect({
    servers: broker.url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 10,
  });
  const order = new ChangeOrder();
  const proof = new Proof(order, monotonicClock, boundMs);
  const log = pino({ level: 'silent' });
  const options = { nats, prefix, replicas: 1, id: 'test', order, proof, clock: monotonicClock, log };
  const invalidations = new Invalidations(options);
  releasers.push(async () => {
    await nats.close();
    invalidations.stop();
  });
  await invalidations.start();
  const waiting = new Set<() => void>();
  order.onApplied(() => waiting.forEach((check) => check()));
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      const check = () => {
        if (!condition()) return;
        waiting.delete(check);
        resolve();
      };
      waiting.add(check);
      check();
    });
  return { order, proof, invalidations, nats, until };
}

describe('the order of changes over a broker', () => {
  it('numbers begin at the time, so that a stream made anew never uses one twice', async () => {
    const before = Date.now();
    const { order, until } = await startFollower(await startBroker());
    await until(() => order.isSettled);
    expect(order.seen).toBeGreaterThanOrEqual(before);
    expect(order.seen).toBeLessThan(before + 60_000);
  });

  it('a change reaches everyone under the number with which it was acknowledged', async () => {
    const broker = await startBroker();
    const [one, two] = [await startFollower(broker), await startFollower(broker)];
    const sequence = await one.invalidations.publish(alice, 'test');
    for (const { order, until } of [one, two]) {
      await until(() => order.seen >= sequence);
      expect(order.stamps.allow(sequence - 1, subject)).toBe(false);
      expect(order.stamps.allow(sequence, subject)).toBe(true);
    }
    expect(one.order.counts.gaps + two.order.counts.gaps).toBe(0);
  });

  it('ticks prove it fresh, and a broker that stands still lets the proof grow old', async () => {
    const broker = await startBroker();
    const { proof, until } = await startFollower(broker);
    await until(() => proof.isRecent());
    await broker.pause();
    const pausedAtMs = monotonicClock.now();
    while (proof.isRecent()) await new Promise((resolve) => setImmediate(resolve));
    expect(monotonicClock.now() - pausedAtMs).toBeLessThan(10 * proof.boundMs);
    broker.resume();
    await until(() => proof.isRecent());
  });

  it('a broker that was killed and restarted is followed again, and nothing from before is trusted', async () => {
    const broker = await startBroker();
    const { order, proof, until } = await startFollower(broker);
    await until(() => proof.isRecent());
    const floor = order.seen;
    await broker.kill();
    await broker.restart();
    await until(() => order.seen > floor && order.isSettled && proof.isRecent());
    expect(order.stamps.allow(floor, subject)).toBe(false);
    expect(order.stamps.allow(order.seen, subject)).toBe(true);
  });

  it('a stream that was deleted is made anew with higher numbers, and the proof comes back', async () => {
    const broker = await startBroker();
    const { order, proof, until, nats } = await startFollower(broker);
    await until(() => proof.isRecent());
    const floor = order.seen;
    await (await nats.jetstreamManager()).streams.delete(streamName(prefix));
    await until(() => order.seen > floor + 1 && proof.isRecent());
    expect(order.stamps.allow(floor, subject)).toBe(false);
  });

  it('an acknowledgement by a stream that is not numbered from the time yet is none', async () => {
    const broker = await startBroker();
    const nats = await connect({ servers: broker.url });
    releasers.push(() => nats.close());
    await (
      await nats.jetstreamManager()
    ).streams.add({ name: streamName(prefix), subjects: [invalidateSubject(prefix)] });
    await expect(publishNumbered(nats.jetstream(), prefix, new Uint8Array(), 2_000)).rejects.toThrow(/not numbered/);
  });

  it('a plain publication without number is dropped at once everywhere', async () => {
    const broker = await startBroker();
    const { order, until, nats } = await startFollower(broker);
    await until(() => order.isSettled);
    const floor = order.seen;
    nats.publish(invalidateSubject(prefix), JSON.stringify({ v: 1, ...alice }));
    await nats.flush();
    expect(order.stamps.allow(floor, subject)).toBe(false);
  });

  it('forged headers change nothing: the last value of each is the one of the broker', async () => {
    const broker = await startBroker();
    const { order, until, nats, invalidations } = await startFollower(broker);
    await until(() => order.isSettled);
    const forged = headers();
    forged.append('Nats-Stream', 'OTHER');
    forged.append('Nats-Sequence', '99999999999999');
    nats.publish(invalidateSubject(prefix), JSON.stringify({ v: 1, ...alice }), { headers: forged });
    const sequence = await invalidations.publish(alice, 'after the forgery');
    await until(() => order.seen >= sequence);
    expect(order.seen).toBeLessThan(sequence + 100);
    expect(order.counts.gaps).toBe(0);
    expect(invalidations.counts.foreign).toBe(0);
  });

  it('what claims to be invalidated by another stream is not believed', async () => {
    const broker = await startBroker();
    const { order, until, nats, invalidations } = await startFollower(broker);
    await until(() => order.isSettled);
    const forged = headers();
    forged.set('Nats-Stream', 'OTHER');
    forged.set('Nats-Sequence', '99999999999999');
    nats.publish(invalidatedSubject(prefix), JSON.stringify({ v: 1, ...alice }), { headers: forged });
    await nats.flush();
    expect(invalidations.counts.foreign).toBe(1);
    expect(order.seen).toBeLessThan(99_999_999_999_999);
  });

  it.each([
    ['nonsense', 'nonsense'],
    ['no scope', '{"v":1}'],
    ['two scopes', '{"v":1,"user":"a@b","domain":"b"}'],
    ['a JID without normal form', '{"v":1,"user":"@"}'],
    ['another version', '{"v":2,"user":"a@b"}'],
  ])('%s counts as everything', async (_what, payload) => {
    const broker = await startBroker();
    const { order, until, nats } = await startFollower(broker);
    await until(() => order.isSettled);
    const floor = order.seen;
    nats.publish(invalidateSubject(prefix), payload);
    await nats.flush();
    expect(order.stamps.allow(floor, subject)).toBe(false);
  });

  it('an incompatible stream is refused with what to do about it', async () => {
    const broker = await startBroker();
    const nats = await connect({ servers: broker.url });
    releasers.push(() => nats.close());
    await (
      await nats.jetstreamManager()
    ).streams.add({
      name: streamName(prefix),
      subjects: [invalidateSubject(prefix)],
      retention: RetentionPolicy.Limits,
      max_age: nanos(60_000),
    });
    await expect(startFollower(broker)).rejects.toThrow(/republish to nowhere.*nats stream rm/s);
  });

  it('without JetStream it follows plain publications, and clears when it connects again', async () => {
    const broker = await startBroker(false);
    const { order, invalidations, nats, proof } = await startFollower(broker);
    expect(order.ordering).toBe('counted');
    expect(proof.isRecent()).toBe(true);
    const floor = order.seen;
    expect(await invalidations.publish(alice, 'test')).toBe(0);
    expect(order.stamps.allow(floor, subject)).toBe(false);
    const cleared = order.counts.clears;
    const reconnected = (async () => {
      for await (const { type } of nats.status()) if (type === Events.Reconnect) return;
    })();
    await broker.kill();
    await broker.restart();
    await reconnected;
    await nats.flush();
    expect(order.counts.clears).toBeGreaterThan(cleared);
  });
});
