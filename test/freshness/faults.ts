/** What is done to the system while it works. Each fault is applied, lasts a while and ends by itself. */
import { connect, headers } from 'nats';
import type { NatsConnection } from 'nats';
import { invalidateSubject, streamName } from '../../src/nats/stream.ts';
import type { Brokers } from './brokers.ts';
import type { Asker } from './askers.ts';
import type { Client, Worker } from './clients.ts';
import { pause } from './clock.ts';
import type { Random } from './random.ts';
import type { Truth } from './truth.ts';

export interface Theatre {
  readonly random: Random;
  readonly brokers: Brokers;
  readonly workers: readonly Worker[];
  readonly askers: readonly Asker[];
  readonly truth: Truth;
  readonly prefix: string;
  readonly boundMs: number;
  /** How long the application takes when it is not slow. */
  readonly sourceMs: number;
  /** Starts one more worker, which leaves in good order when it is told to. */
  readonly addWorker: () => Promise<Worker>;
}

export type FaultName =
  | 'worker killed'
  | 'worker stopped'
  | 'worker added and drained'
  | 'asker killed'
  | 'asker stopped'
  | 'broker killed'
  | 'broker stopped'
  | 'leader cut off'
  | 'stream deleted'
  | 'source slow'
  | 'connection cut'
  | 'connection held'
  | 'invalidations lost'
  | 'asker hears nothing'
  | 'headers forged';

/** Longer than the bound, so that whatever counts on time alone is wrong afterwards. */
const longEnough = (theatre: Theatre) => theatre.boundMs * theatre.random.between(1.1, 1.8);

const clients = ({ workers, askers }: Theatre): readonly Client[] => [...workers, ...askers];

export const faults: Record<FaultName, (theatre: Theatre) => Promise<void>> = {
  'worker killed': ({ random, workers }) => random.pick(workers).replace(),
  'worker stopped': (theatre) => stopped(theatre.random.pick(theatre.workers), longEnough(theatre)),
  'worker added and drained': async (theatre) => {
    const worker = await theatre.addWorker();
    await pause(longEnough(theatre));
    await worker.release();
  },
  'asker killed': ({ random, askers }) => random.pick(askers).replace(),
  'asker stopped': (theatre) => stopped(theatre.random.pick(theatre.askers), longEnough(theatre)),
  'broker killed': async ({ random, brokers }) => {
    const broker = random.pick(brokers.servers);
    await broker.kill();
    await pause(random.between(0, 500));
    await broker.restart();
  },
  'broker stopped': async (theatre) => {
    const broker = theatre.random.pick(theatre.brokers.servers);
    await broker.pause();
    await pause(longEnough(theatre));
    broker.resume();
  },
  'leader cut off': async (theatre) => {
    const { brokers, random, prefix } = theatre;
    const leader = (await brokers.leader(streamName(prefix))) ?? random.below(brokers.servers.length);
    const mend = brokers.cutOff(leader);
    await pause(theatre.boundMs * random.between(1.5, 4));
    mend();
  },
  'stream deleted': ({ brokers, prefix }) =>
    asAdmin(brokers, async (nats) => {
      await (await nats.jetstreamManager({ checkAPI: false })).streams.delete(streamName(prefix));
    }),
  'source slow': async (theatre) => {
    theatre.truth.slow(theatre.boundMs * 1.5);
    await pause(longEnough(theatre));
    theatre.truth.slow(theatre.sourceMs);
  },
  'connection cut': async (theatre) => {
    for (const proxy of theatre.random.pick(clients(theatre)).way.proxies) proxy.cut();
  },
  'connection held': async (theatre) => {
    const { proxies } = theatre.random.pick(clients(theatre)).way;
    for (const proxy of proxies) proxy.hold();
    await pause(longEnough(theatre));
    for (const proxy of proxies) proxy.release();
  },
  'invalidations lost': (theatre) =>
    losing(theatre.random.pick(clients(theatre)), theatre.boundMs * theatre.random.between(0.1, 2)),
  // He goes on asking and is answered: only the age of his last proof can tell him.
  'asker hears nothing': (theatre) =>
    losing(theatre.random.pick(theatre.askers), theatre.boundMs * theatre.random.between(1.6, 2.2)),
  'headers forged': ({ brokers, prefix, random }) =>
    asAdmin(brokers, async (nats) => {
      const forged = headers();
      forged.append('Nats-Stream', streamName(prefix));
      // The past of the stream or its far future: the one invites doubt, the other would make every proof hollow.
      forged.append('Nats-Sequence', random.next() < 0.5 ? '1' : String(Date.now() + 3_600_000));
      nats.publish(invalidateSubject(prefix), '{"v":1,"user":"u1@d1.test"}', { headers: forged });
      await nats.flush();
    }),
};

async function losing({ way }: Client, ms: number): Promise<void> {
  for (const proxy of way.proxies) proxy.losing = true;
  await pause(ms);
  for (const proxy of way.proxies) proxy.losing = false;
}

async function stopped(client: Client, ms: number): Promise<void> {
  client.signal('SIGSTOP');
  await pause(ms);
  client.signal('SIGCONT');
}

const adminPatienceMs = 10_000;

/** Tries until it is done: another fault may just keep the broker from listening. @throws what the last attempt threw */
async function asAdmin(brokers: Brokers, work: (nats: NatsConnection) => Promise<void>): Promise<void> {
  const servers = brokers.servers.map(({ url }) => url);
  const endsAtMs = performance.now() + adminPatienceMs;
  for (;;) {
    try {
      const nats = await connect({ servers, timeout: 1_000, reconnect: false });
      try {
        return await work(nats);
      } finally {
        await nats.close();
      }
    } catch (error) {
      if (performance.now() > endsAtMs) throw error;
      await pause(100);
    }
  }
}
