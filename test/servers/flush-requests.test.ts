/** `<prefix>.ctl.flush` against real workers: for hooks, that may not publish changes themselves. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodePayload } from '../../src/wire/codec.ts';
import { encodingOf } from '../../src/wire/encoding.ts';
import { encodeMessagePack } from '../../src/wire/messagepack.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

let broker: NatsServer;
let workers: WorkerProcess[] = [];
let asker: NatsConnection;

beforeAll(async () => {
  broker = await startNatsServer({ jetstream: true });
  workers = await Promise.all([1, 2].map(() => startWorkerProcess(broker.url, '')));
  asker = await connect({ servers: broker.url });
});

afterAll(async () => {
  await asker.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await broker.stop();
});

async function flush(payload: Uint8Array | string, nats = asker): Promise<Record<string, unknown>> {
  const { data } = await nats.request('xmpp.policy.v1.ctl.flush', payload, { timeout: 10_000 });
  return decodePayload(data, encodingOf(data));
}

describe('a request to flush', () => {
  it.each([
    ['user', { user: 'Alice@LOCALHOST' }, { user: 'alice@localhost' }],
    ['room', { room: 'lobby@rooms.localhost', user: null }, { room: 'lobby@rooms.localhost' }],
  ])('of a %s is published in its normal form, once, and answered with its number', async (_scope, asked, change) => {
    const heard: { sequence: number; change: object }[] = [];
    const listening = asker.subscribe('xmpp.policy.v1.invalidated', {
      callback: (_error, message) => {
        const { v: _v, reason, ...rest } = message.json<Record<string, unknown>>();
        if (reason !== 'ctl.flush') return;
        heard.push({ sequence: Number(message.headers?.values('Nats-Sequence').at(-1)), change: rest });
      },
    });
    const replies = [
      await flush(encodeMessagePack({ v: 1, ...asked })),
      await flush(JSON.stringify({ v: 1, ...asked })),
    ];
    await asker.flush();
    listening.unsubscribe();
    expect(replies).toEqual(heard.map(({ sequence }) => ({ v: 1, seq: sequence })));
    expect(heard.map((one) => one.change)).toEqual([change, change]);
    expect(Number(replies[0]?.['seq'])).toBeGreaterThan(1e12);
  });

  it.each([
    ['everything', { all: true }],
    ['a domain', { domain: 'localhost' }],
    ['an operation', { operation: 'join-check' }],
    ['a user and everything', { user: 'alice@localhost', all: true }],
    ['a user and a room', { user: 'alice@localhost', room: 'lobby@rooms.localhost' }],
    ['nothing', {}],
    ['a full JID', { user: 'alice@localhost/phone' }],
    ['what is no JID', { user: '@' }],
    ['a number', { user: 5 }],
    ['another version', { v: 2, user: 'alice@localhost' }],
  ])('of %s is refused', async (_what, asked) => {
    const reply = await flush(encodeMessagePack({ v: 1, ...asked }));
    expect(reply).toEqual({ v: 1, failure: 'bad-request', text: 'The request is malformed.' });
  });

  it('that cannot be decoded is refused', async () => {
    expect(await flush('no payload')).toMatchObject({ failure: 'bad-request' });
  });

  it('is answered with 0 where no stream numbers the changes', async () => {
    const plain = await startNatsServer();
    const worker = await startWorkerProcess(plain.url, '');
    const nats = await connect({ servers: plain.url });
    try {
      expect(await flush('{"v":1,"user":"alice@localhost"}', nats)).toEqual({ v: 1, seq: 0 });
    } finally {
      await nats.close();
      await worker.stop();
      await plain.stop();
    }
  });
});
