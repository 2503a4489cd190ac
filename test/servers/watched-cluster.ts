/**
 * A cluster to be looked at: a broker, workers with a source that answers, one that is gone and one that is slow, two
 * XMPP servers that report as hooks do, questions all the time, and changes. What goes wrong in it is for its user to do.
 */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeMessagePack } from '../../src/wire/messagepack.ts';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { freePort } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const prefix = 'xmpp.policy.v1';

export interface WatchedCluster {
  readonly broker: NatsServer;
  readonly workers: readonly WorkerProcess[];
  /** host:port of each worker. */
  readonly targets: readonly string[];
  /** How many hooks fail to get an answer, in every report from now on. */
  hooksFail(failures: Readonly<Record<string, number>>, fallbacks: Readonly<Record<string, number>>): void;
  /** Questions that end at the source that is gone, in every round from now on. */
  askTheGone(count: number): void;
  /** Questions that wait for the slow source, in every round from now on. */
  askTheSlow(count: number): void;
  /** The stream passes over some numbers, as when messages are lost on the way. */
  losesNumbers(): Promise<void>;
  stop(): Promise<void>;
}

export interface WatchedClusterOptions {
  readonly workers?: number;
  /** Whether there is a third XMPP server, which hears of no changes and whose rosters stay due. */
  readonly hasDeafHook?: boolean;
  /** How long the event loop of a worker may stand still. */
  readonly maxLagMs?: number;
  /** Absent: the command as it is built for tests. */
  readonly startWorker?: (natsUrl: string, config: string) => Promise<WorkerProcess>;
}

/** What the sources of the workers answer. */
function answerAs(application: Application): void {
  const roster = { 'bob@localhost': { subscription: 'both' } };
  application.answer((request, response, body) => {
    if (request.url === '/slow') {
      setTimeout(() => json({ verdict: 'allow' })(request, response), 40);
      return;
    }
    const { operation, to = '' } = JSON.parse(body) as { operation?: string; to?: string };
    if (operation === 'roster-refresh') json({ items: [], roster })(request, response);
    else json({ verdict: to.startsWith('blocked') ? 'deny' : 'allow', scope: 'pair' })(request, response);
  });
}

export async function startWatchedCluster(options: WatchedClusterOptions = {}): Promise<WatchedCluster> {
  const { workers: workerCount = 2, hasDeafHook = false, maxLagMs = 500, startWorker = startWorkerProcess } = options;
  const stops: (() => Promise<unknown>)[] = [];
  const broker = await startNatsServer({ jetstream: true });
  stops.push(() => broker.stop());
  const application = await startApplication();
  answerAs(application);
  stops.push(() => application.stop());
  const config = `
limits: { max_in_flight: 24, max_lag_ms: ${maxLagMs} }
cache: { max_decisions: 400 }
operations:
  stanza-check: { sources: { '*': app, gone.example: { source: gone, fallback: allow }, shut.example: { source: gone, fallback: deny } } }
  join-check: { sources: slow }
  session-check: { sources: app }
  roster-refresh: { sources: app }
sources:
  app: { type: http, url: "${application.url}/" }
  slow: { type: http, url: "${application.url}/slow", max_concurrent: 2, max_queued: 64 }
  gone: { type: http, url: "http://127.0.0.1:${await freePort()}/", breaker: { failures: 3, half_open_after_ms: 1000 } }
`;
  const workers = await Promise.all(Array.from({ length: workerCount }, () => startWorker(broker.url, config)));
  stops.push(() => Promise.all(workers.map((worker) => worker.stop())));
  const asker = await connect({ servers: broker.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  stops.push(() => asker.close());

  const load = startLoad(asker);
  const hooks = [
    startHook(asker, { name: 'xmpp-1', kind: 'prosody' }),
    startHook(asker, { name: 'xmpp-2', kind: 'ejabberd' }),
    ...(hasDeafHook ? [startHook(asker, { name: 'xmpp-3', kind: 'prosody', isDeaf: true })] : []),
  ];
  stops.push(() => Promise.all([load, ...hooks].map(({ stop }) => stop())));

  return {
    broker,
    workers,
    targets: workers.map(({ url }) => new URL(url).host),
    hooksFail: (failures, fallbacks) => {
      for (const hook of hooks) hook.fail(failures, fallbacks);
    },
    askTheGone: (count) => void (load.counts.gone = count),
    askTheSlow: (count) => void (load.counts.slow = count),
    losesNumbers: async () => {
      const manager = await asker.jetstreamManager();
      const { state } = await manager.streams.info('WARDER_INVALIDATIONS');
      await manager.streams.purge('WARDER_INVALIDATIONS', { seq: state.last_seq + 50 });
    },
    stop: async () => {
      for (const stop of stops.toReversed()) await stop();
    },
  };
}

/** A round of questions every 50 ms, most of them between few people, and now and then a change. */
function startLoad(asker: NatsConnection) {
  const counts = { gone: 0, slow: 1 };
  const stopping = new AbortController();
  let round = 0;
  let asked = 0;
  const ask = (operation: string, fields: object): void => {
    asked += 1;
    const request = { v: 1, id: `question-${asked}`, server: 'xmpp-1', budget_ms: 1_000, ...fields };
    // What is not answered is counted by the workers.
    void asker.request(`${prefix}.${operation}`, encodeMessagePack(request), { timeout: 2_000 }).catch(() => undefined);
  };
  const stanza = (from: string, to: string): void =>
    ask('stanza-check', { hook: 'send', from, to, kind: 'message', type: 'chat' });
  const running = (async () => {
    for (; !stopping.signal.aborted; round += 1) {
      for (let index = 0; index < 10; index += 1) {
        const to = (round * 7 + index * 13) % 60;
        stanza(`user${(round + index) % 5}@localhost`, `${to < 6 ? 'blocked' : 'friend'}${to}@localhost`);
      }
      stanza(`once${round}@localhost`, `again${round}@localhost`);
      ask('session-check', { user: `user${round % 20}@localhost/phone` });
      for (let index = 0; index < counts.slow; index += 1) {
        ask('join-check', {
          user: `user${round}-${index}@localhost/x`,
          room: 'r@rooms.localhost',
          nick: 'x',
          event: 'join',
        });
      }
      for (let index = 0; index < counts.gone; index += 1) {
        stanza(`user${round}@gone.example`, `other${index}@gone.example`);
        stanza(`user${round}@shut.example`, `other${index}@shut.example`);
      }
      // Without what a question has to say.
      if (round % 20 === 0) ask('stanza-check', {});
      if (round % 5 === 0) ask('roster-refresh', { users: [`user${round % 10}@localhost`], reason: 'login' });
      if (round % 10 === 0) {
        asker.publish(`${prefix}.invalidate`, encodeMessagePack({ v: 1, user: `user${round % 5}@localhost` }));
      }
      await delay(50);
    }
  })();
  return {
    counts,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Says and reports what a hook does, more often than one. */
function startHook(
  nats: NatsConnection,
  { name, kind, isDeaf = false }: { name: string; kind: string; isDeaf?: boolean },
) {
  const stopping = new AbortController();
  let failures: Readonly<Record<string, number>> = {};
  let fallbacks: Readonly<Record<string, number>> = {};
  let seen = 0;
  const subscription = nats.subscribe(`${prefix}.invalidated`, {
    callback: (_error, { headers }) => (seen = isDeaf ? 1 : Number(headers?.last('Nats-Sequence') ?? 0)),
  });
  const running = (async () => {
    for (let number = 1; !stopping.signal.aborted; number += 1) {
      const sender = { v: 1, boot_id: `boot of ${name}`, name, kind, version: '0.1.0' };
      const operations = {
        'stanza-check': { verdicts: { allow: 20, deny: 2 }, remembered: { allow: 80, deny: 3 }, failures, fallbacks },
        'join-check': { verdicts: { allow: 3 } },
      };
      const gauges = {
        near_cache_entries: Math.min(5_000, 100 * number),
        near_cache_max: 50_000,
        pending: number % 4,
        rosters_online: 120,
        rosters_due: isDeaf ? 9 : number % 3,
        connected_s: number,
      };
      const near_cache = { hits: 83, misses: 22, unproved: 1, evictions: 0, gaps: 0, clears: number === 1 ? 1 : 0 };
      nats.publish(`${prefix}.ctl.seen`, encodeMessagePack({ ...sender, kind: 'hook', seen }));
      const report = encodeMessagePack({ ...sender, number, operations, near_cache, gauges });
      await nats.request(`${prefix}.ctl.hook-stats`, report, { timeout: 2_000 }).catch(() => undefined);
      await delay(250);
    }
  })();
  return {
    fail: (nextFailures: typeof failures, nextFallbacks: typeof fallbacks) => {
      failures = nextFailures;
      fallbacks = nextFallbacks;
    },
    stop: async () => {
      stopping.abort();
      await running;
      if (!nats.isClosed()) subscription.unsubscribe();
    },
  };
}
