/**
 * What a worker does with changes, and nothing else: the worker's own classes, and a note of when each change was
 * applied. Noting costs no message; the times are handed out at the end. A process of its own.
 */
import { connect } from 'nats';
import { pino } from 'pino';
import { ChangeOrder } from '../src/cache/order.ts';
import { Proof } from '../src/cache/proof.ts';
import { monotonicClock } from '../src/clock.ts';
import { Invalidations } from '../src/nats/invalidations.ts';
import { machineNow } from './stopwatch.ts';

export interface Noted {
  /** By user: when what the change ended was served no more, by `machineNow`. */
  readonly applied: Record<string, number>;
  /** Clears since the start: a gap would be one. */
  readonly clears: number;
}

const applied: Record<string, number> = {};

const [url = '', prefix = ''] = process.argv.slice(2);
const order = new ChangeOrder();
order.onApplied((change) => {
  if (change !== undefined && 'user' in change) applied[change.user] ??= machineNow();
});
const nats = await connect({ servers: url });
const invalidations = new Invalidations({
  nats,
  prefix,
  replicas: 1,
  id: `follower-${process.pid}`,
  order,
  proof: new Proof(order, monotonicClock, 2_000),
  clock: monotonicClock,
  log: pino({ level: 'silent' }),
});
await invalidations.start();
nats.subscribe(`bench.noted.${process.pid}`, {
  callback: (_error, message) =>
    message.respond(JSON.stringify({ applied, clears: order.counts.clears } satisfies Noted)),
});
await nats.flush();
process.stdout.write('ready\n');
