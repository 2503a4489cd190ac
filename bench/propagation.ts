/** How long a change takes until nobody serves what it ended. */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from 'nats';
import type { JetStreamClient, NatsConnection } from 'nats';
import { publishNumbered } from '../src/nats/publish.ts';
import { encodeChange } from '../src/wire/invalidation.ts';
import { decodeMessagePack, encodeMessagePack } from '../src/wire/messagepack.ts';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startProcess } from '../test/servers/process.ts';
import type { Noted } from './follower.ts';
import { machineNow, quantile } from './stopwatch.ts';
import { markdownTable } from './table.ts';
import { startAllowService, startWorker } from './worker.ts';

const workers = 4;
const changes = 2_000;
/** Between two, so that none waits for the one before. */
const pauseMs = 5;
const prefix = 'xmpp.policy.v1';

/** Milliseconds from just before the publication, one value a change. */
type Times = Record<'acknowledged' | 'applied' | 'answered', number[]>;

/** Measures, and returns the table. @throws Error when a change was missed or an old decision was answered */
export async function propagation(): Promise<string> {
  const times: Times = { acknowledged: [], applied: [], answered: [] };
  await follow(times);
  await ask(times);
  const row = (what: string, how: string, values: readonly number[]) => [
    what,
    how,
    ...[0.5, 0.99, 1].map((part) => quantile(values, part).toFixed(2)),
  ];
  return markdownTable(
    ['from the publication until', 'measured', 'p50 ms', 'p99 ms', 'most'],
    [
      row('JetStream has acknowledged it', 'in the publisher', times.acknowledged),
      row(
        `the last of ${workers} has dropped the decision`,
        'in processes with a worker’s code for changes',
        times.applied,
      ),
      row('an asker has the new decision', `acknowledged, then asked of ${workers} workers`, times.answered),
    ],
  );
}

/** The first rows: processes that run the worker's own code for changes and note the time. */
async function follow(times: Times): Promise<void> {
  await withBroker(async (url, defer) => {
    const follower = fileURLToPath(new URL('./follower.js', import.meta.url));
    const followers = await Promise.all(
      Array.from({ length: workers }, () =>
        startProcess({ command: process.execPath, args: [follower, url, prefix], ready: /ready/ }),
      ),
    );
    for (const one of followers) defer(() => one.stop());
    const nats = await connect({ servers: url });
    defer(() => nats.close());
    const jetstream = nats.jetstream();
    const before = await notedOf(nats, followers);
    const published = new Map<string, number>();
    for (let index = 0; index < changes; index += 1) {
      const user = `user${index}@example.org`;
      const publishedAt = machineNow();
      await publish(jetstream, user);
      times.acknowledged.push(machineNow() - publishedAt);
      published.set(user, publishedAt);
      await delay(pauseMs);
    }
    const noted = await notedOf(nats, followers);
    if (noted.some(({ clears }, index) => clears !== before[index]?.clears)) throw new Error('a change was missed');
    for (const [user, publishedAt] of published) {
      times.applied.push(Math.max(...noted.map(({ applied }) => applied[user] ?? Number.NaN)) - publishedAt);
    }
  });
}

async function notedOf(nats: NatsConnection, followers: readonly { readonly pid: number }[]): Promise<Noted[]> {
  // A connection's messages come in order: what a follower has said it had read before.
  const all = await Promise.all(followers.map(({ pid }) => nats.request(`bench.noted.${pid}`, '', { timeout: 5_000 })));
  return all.map((message) => message.json<Noted>());
}

/** The last row: four workers as they are, each of which remembers a decision that each change ends. */
async function ask(times: Times): Promise<void> {
  await withBroker(async (url, defer) => {
    const service = await startAllowService();
    defer(() => service.stop());
    const started = await Promise.all(Array.from({ length: workers }, () => startWorker(url, service.port)));
    for (const worker of started) defer(() => worker.stop());
    const nats = await connect({ servers: url });
    defer(() => nats.close());
    const jetstream = nats.jetstream();
    for (let index = 0; index < changes; index += 1) {
      service.say(`v${index}`);
      const publishedAt = machineNow();
      const sequence = await publish(jetstream, 'bob@example.org');
      const reply = await nats.request(`${prefix}.stanza-check`, encodeMessagePack(question(index, sequence)), {
        timeout: 5_000,
      });
      times.answered.push(machineNow() - publishedAt);
      const { reason } = decodeMessagePack(reply.data);
      if (reason !== `v${index}`) throw new Error(`asked after v${index}, answered ${String(reason)}`);
    }
  });
}

function publish(jetstream: JetStreamClient, user: string): Promise<number> {
  return publishNumbered(jetstream, prefix, encodeChange({ user }, 'bench'), 5_000);
}

function question(index: number, sequence: number) {
  return {
    v: 1,
    id: `question-${index}`,
    server: 'bench',
    budget_ms: 5_000,
    min_seq: sequence,
    hook: 'send',
    from: 'alice@example.org/phone',
    to: 'bob@example.org',
    kind: 'message',
    type: 'chat',
  };
}

/** A broker of its own for each, so that what is measured has no leftovers; ends all in reverse. */
async function withBroker(
  work: (url: string, defer: (stop: () => Promise<unknown>) => void) => Promise<void>,
): Promise<void> {
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const broker = await startNatsServer({ jetstream: true });
    stops.push(() => broker.stop());
    await work(broker.url, (stop) => stops.push(stop));
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}
