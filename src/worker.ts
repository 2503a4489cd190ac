/**
 * The composition root: builds the parts of a worker from its configuration, starts them in the order in which they
 * need each other, and drains and releases them in reverse.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { Decisions } from './cache/decisions.ts';
import { ChangeOrder } from './cache/order.ts';
import { Proof } from './cache/proof.ts';
import { RecentChanges } from './cache/recent.ts';
import { Rosters } from './cache/rosters.ts';
import { Routes } from './cache/routes.ts';
import type { Change } from './changes.ts';
import type { Parts } from './checks/ask.ts';
import { refreshPushed } from './checks/pushed-refresh.ts';
import { refreshWord } from './checks/roster-announce.ts';
import { monotonicClock } from './clock.ts';
import type { Config } from './config/schema.ts';
import { startHttp } from './http/server.ts';
import type { Push } from './http/server.ts';
import { openConnection } from './nats/connection.ts';
import { DecisionsWatch } from './nats/decisions-watch.ts';
import { startFlushRequests } from './nats/flush-requests.ts';
import { startHookStats } from './nats/hook-stats.ts';
import { Invalidations } from './nats/invalidations.ts';
import { Liveness } from './nats/liveness.ts';
import { Members } from './nats/members.ts';
import { leaveWhenLagging } from './nats/lag.ts';
import { startSelfTest } from './nats/self-test.ts';
import type { SelfTest } from './nats/self-test.ts';
import { RequestServer } from './nats/serve.ts';
import type { Answered } from './nats/serve.ts';
import { startService } from './nats/service.ts';
import { Health } from './observe/health.ts';
import { HookCounts } from './observe/hook-counts.ts';
import { createMetrics } from './observe/metrics.ts';
import { readingsOf } from './readings.ts';
import type { Counting } from './readings.ts';
import { Releasers } from './releasers.ts';
import { serviceDataOf } from './service-data.ts';
import { createConstantSources } from './sources/constant.ts';
import { createSource } from './sources/registry.ts';
import { version } from './version.ts';
import type { Operation } from './wire/operation.ts';

export interface WorkerOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Called for every request that was answered; for people who watch. */
  readonly onAnswered?: (answered: Answered) => void;
}

export interface Worker {
  readonly id: string;
  /** The base URL of its HTTP port. */
  readonly url: string;
  /** Resolves when the connection to the broker is closed for good: the process has nothing left to do. */
  readonly closed: Promise<void | Error>;
  /** Leaves the queue group, answers what is in flight, flushes, and releases everything. */
  stop(): Promise<void>;
}

/** How long a change that is pushed over HTTP may wait for its acknowledgement. */
const pushTimeoutMs = 5_000;

/** Starts a worker. What cannot start releases what had been started, and says why. */
export async function startWorker({ config, log, onAnswered }: WorkerOptions): Promise<Worker> {
  const releasers = new Releasers();
  try {
    return await assemble(config, log, onAnswered, releasers);
  } catch (error) {
    await releasers.release();
    throw error;
  }
}

async function assemble(
  config: Config,
  log: Logger,
  onAnswered: WorkerOptions['onAnswered'],
  releasers: Releasers,
): Promise<Worker> {
  const id = randomBytes(8).toString('hex');
  const clock = monotonicClock;
  const stopping = new AbortController();
  const order = new ChangeOrder();
  const proof = new Proof(order, clock, config.freshness.bound_ms);
  const longestLagMs = Math.max(0, ...Object.values(config.sources).map((one) => ('lag_ms' in one ? one.lag_ms : 0)));
  const recent = new RecentChanges(order, clock, longestLagMs);
  const freshness = { order, proof, recent, clock };
  const decisions = new Decisions(config.cache.max_decisions, freshness);
  const rosters = new Rosters(config.cache.max_rosters, freshness);
  const hooks = new HookCounts(clock);
  const maxInFlight = config.limits.max_in_flight;
  const counting: Counting = { decisions, rosters, order, proof, hooks, maxInFlight, calls: [] };
  const publish: Parts['publish'] = async (change, reason, signal) => {
    if (counting.invalidations === undefined) throw new Error('not connected to NATS yet');
    const sequence = await counting.invalidations.publish(change, reason, signal);
    // A refresh of thousands is one line for whoever reads along, and not one each.
    log[reason === refreshWord ? 'debug' : 'info']({ change, reason, sequence }, 'change published');
    return sequence;
  };
  /** What sources have said before there was a connection. */
  const unsaid = new Map<string, { change: Change; reason: string }>();
  const publishLater = async (change: Change, reason: string): Promise<void> => {
    // Here it holds at once: nothing from before is served while the news is on its way through the broker.
    order.hear(change);
    if (counting.invalidations === undefined) {
      unsaid.set(JSON.stringify(change), { change, reason });
      return;
    }
    try {
      await publish(change, reason, stopping.signal);
    } catch (error) {
      log.warn({ change, detail: String(error) }, 'change not published');
    }
  };

  let running = true;
  let selfTest: SelfTest | undefined;
  const metrics = createMetrics(readingsOf(counting));
  const health = new Health({
    running: () => running,
    configuration: () => counting.routes !== undefined,
    nats: () => counting.connection?.isConnected() ?? false,
    subscribed: () => counting.server?.isMember ?? false,
    freshness: () => order.isSettled && (order.ordering === 'counted' || proof.isRecent()),
    self_test: async () => (await selfTest?.passes()) ?? false,
  });
  let parts: Parts | undefined;
  const push: Push = {
    token: config.http.push_token,
    timeoutMs: pushTimeoutMs,
    publish,
    refresh: async (users) => parts && refreshPushed(users, config.roster.default_host, parts),
  };
  const http = await startHttp({ ...config.http, log, registry: metrics.registry, health, push });
  releasers.push(() => http.stop());

  const sources = createConstantSources();
  for (const [name, sourceConfig] of Object.entries(config.sources)) {
    const source = await createSource(sourceConfig, {
      name,
      log: log.child({ source: name }),
      clock,
      boundMs: config.freshness.bound_ms,
      defaultHost: config.roster.default_host,
      changed: publishLater,
      observe: (outcome, seconds) => metrics.observeSource(name, sourceConfig.type, outcome, seconds),
      expose: (read) => void counting.calls.push({ source: name, type: sourceConfig.type, read }),
    });
    releasers.push(() => source.stop());
    sources.set(name, source);
  }
  releasers.push(() => stopping.abort());
  const routes = new Routes(config.operations, sources);
  counting.routes = routes;
  const unrouted = routes.unrouted().filter((operation) => operation !== 'user-removed');
  if (unrouted.length > 0) log.warn({ operations: unrouted }, 'no source configured: answered with source-unavailable');

  const connection = await openConnection(config.nats, 'warder-worker', log, true);
  counting.connection = connection;
  const { nats } = connection;
  releasers.push(() => connection.close());
  const liveness = new Liveness(clock, () => nats.flush());
  counting.liveness = liveness;
  liveness.start();
  releasers.push(() => liveness.stop());

  const prefix = config.nats.subject_prefix;
  const replicas = config.freshness.stream_replicas;
  const invalidations = new Invalidations({ nats, prefix, replicas, id, order, proof, clock, log });
  releasers.push(() => invalidations.stop());
  await invalidations.start();
  counting.invalidations = invalidations;
  // Nobody here remembers anything yet, but the hooks may, from before this worker.
  for (const { change, reason } of unsaid.values()) void publishLater(change, reason);
  const name = `${hostname()}/${process.pid}`;
  const members = new Members({
    nats,
    prefix,
    clock,
    self: { bootId: id, name, version },
    hooks: () => hooks.states(),
    seen: () => (order.ordering === 'counted' ? 0 : order.seen),
    isAway: () => !running || counting.membership?.isMember === false,
    boundMs: proof.boundMs,
  });
  order.onApplied((change) => {
    if (change === undefined) return;
    members.changeApplied();
    for (const source of sources.values()) source.readAgain?.();
  });
  counting.members = members;
  members.start();
  releasers.push(() => members.stop());

  parts = { routes, decisions, rosters, order, proof, clock, log, stopping: stopping.signal, publish };
  const sourceOf = (operation: Operation, domain: string) => routes.of(operation, domain)?.source.name;
  const watch = new DecisionsWatch({ nats, prefix, clock, worker: id, sourceOf });
  watch.start();
  releasers.push(() => watch.stop());
  const server = new RequestServer({ nats, prefix, parts, clock, liveness, log, maxInFlight, onAnswered, watch });
  server.start();
  releasers.push(() => server.stop(config.limits.drain_timeout_ms));
  const membership = leaveWhenLagging(config.limits.max_lag_ms, { clock, liveness, members, server, log });
  counting.membership = membership;
  releasers.push(() => membership.stop());
  const ownTest = startSelfTest(nats, connection.inboxPrefix);
  selfTest = ownTest;
  releasers.push(() => ownTest.stop());
  const flushes = startFlushRequests({ nats, prefix, log, publish });
  releasers.push(() => flushes.stop());
  const hookStats = startHookStats({ nats, prefix, counts: hooks });
  releasers.push(() => hookStats.stop());
  const data = serviceDataOf(counting, { prefix, name });
  const service = startService({ nats, prefix, id, version, stats: server.stats, data });
  releasers.push(() => service.stop());
  await nats.flush();
  counting.server = server;
  log.info({ id, version, prefix, http: http.url }, 'worker ready');

  return {
    id,
    url: http.url,
    closed: nats.closed(),
    stop: () => {
      running = false;
      members.membershipChanged();
      return releasers.release();
    },
  };
}
