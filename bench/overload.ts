/**
 * `npm run bench:overload`: what one worker answers when it is offered three times what its source can do, what a flush of
 * everything does to the source, and what a stopped worker among three costs. Takes two minutes. `docs/operations.md`
 * says what the figures mean.
 */
import { cpus, loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { startHookAsker } from '../test/servers/hook-asker.ts';
import type { HookAskerOptions } from '../test/servers/hook-asker.ts';
import { machineTime } from './cpu.ts';
import { answerMs, maxConcurrent, startOverloadCluster } from './overload-cluster.ts';
import type { OverloadCluster } from './overload-cluster.ts';
import { acquaintances, isDecided, steadyLoad, strangers, words } from './steady-load.ts';
import type { Asked } from './steady-load.ts';
import { quantile } from './stopwatch.ts';
import { markdownTable } from './table.ts';

const budgetMs = 250;
/** What the source can do: so many calls at once, each of so many milliseconds. */
const capacity = (maxConcurrent * 1_000) / answerMs;
/** The load generator and the service need the machine too: the first answers are of connections being made. */
const warmUpMs = 2_000;

let running: OverloadCluster | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => void (running?.stop() ?? Promise.resolve()).finally(() => process.exit(1)));

async function withCluster(workers: number, work: (cluster: OverloadCluster) => Promise<void>): Promise<void> {
  running = await startOverloadCluster(workers);
  try {
    await work(running);
  } finally {
    await running.stop();
    running = undefined;
  }
}

async function withAsker<T>(
  cluster: OverloadCluster,
  options: HookAskerOptions,
  work: (asker: Awaited<ReturnType<typeof startHookAsker>>) => Promise<T>,
): Promise<T> {
  const asker = await startHookAsker(cluster.natsUrl, { budgetMs, ...options });
  try {
    return await work(asker);
  } finally {
    await asker.stop();
  }
}

const ms = (value: number): string => value.toFixed(0);
const count = (value: number): string => Math.round(value).toLocaleString('en');

/** Everything after the warm-up. */
function figuresOf(asked: readonly Asked[], seconds: number): { decided: readonly Asked[]; perSecond: number } {
  const decided = asked.filter((one) => one.atMs >= warmUpMs && isDecided(one));
  return { decided, perSecond: decided.length / (seconds - warmUpMs / 1_000) };
}

async function offerTooMuch(): Promise<void> {
  console.log(
    `\n## One worker, a source of ${answerMs} ms that takes ${maxConcurrent} at once: ${count(capacity)} a second\n`,
  );
  const rows: string[][] = [];
  const seconds = 10;
  for (const times of [0.5, 1, 2, 3]) {
    await withCluster(1, async (cluster) =>
      withAsker(cluster, {}, async (asker) => {
        const asked = await steadyLoad(asker, capacity * times, seconds * 1_000, strangers('user'));
        const { decided, perSecond } = figuresOf(asked, seconds);
        const { most } = await cluster.counts();
        const took = decided.map(({ tookMs }) => tookMs);
        rows.push([
          `${times} times`,
          count(capacity * times),
          count(perSecond),
          `${((perSecond / Math.min(capacity, capacity * times)) * 100).toFixed(1)} %`,
          ms(quantile(took, 0.5)),
          ms(quantile(took, 0.99)),
          String(most),
          words(asked.filter((one) => !isDecided(one))) || 'none',
        ]);
      }),
    );
  }
  const head = ['offered', 'a second', 'decided a second', 'of what can be', 'p50 ms', 'p99 ms', 'calls at once'];
  console.log(markdownTable([...head, 'not decided'], rows));
}

async function flushEverything(): Promise<void> {
  const perSecond = 1_000;
  const pairs = 2_000;
  console.log(
    `\n## One worker, ${count(perSecond)} questions a second of ${count(pairs)} pairs, and everything flushed\n`,
  );
  await withCluster(1, async (cluster) =>
    withAsker(cluster, {}, async (asker) => {
      await steadyLoad(asker, capacity * 0.75, (pairs / (capacity * 0.75)) * 1_000, acquaintances(pairs));
      await cluster.counts();
      const loading = steadyLoad(asker, perSecond, 12_000, acquaintances(pairs));
      await delay(4_000);
      const nats = await connect({ servers: cluster.natsUrl });
      await nats.jetstream().publish('xmpp.policy.v1.invalidate', JSON.stringify({ v: 1, all: true, reason: 'bench' }));
      await nats.close();
      const asked = await loading;
      const { asked: calls, most } = await cluster.counts();
      const missed = asked.filter((one) => !isDecided(one));
      const last = Math.max(0, ...missed.map(({ atMs }) => atMs - 4_000));
      console.log(`${count(calls)} calls of the source, at most ${most} at once (its bulkhead: ${maxConcurrent}).`);
      console.log(`Not decided: ${words(missed) || 'none'}; the last ${(last / 1_000).toFixed(1)} s after the flush.`);
      const opened = cluster.workers.filter((worker) => /circuit opened/.test(worker.output())).length;
      console.log(`Circuits opened: ${opened}.`);
    }),
  );
}

async function stopOne(): Promise<void> {
  const perSecond = 200;
  const [stoppedAtMs, seconds] = [4_000, 20];
  console.log(
    `\n## Three workers, ${perSecond} questions a second, one of them stopped (SIGSTOP) after 4 s and killed at 16 s\n`,
  );
  const rows: string[][] = [];
  for (const doesHedge of [false, true]) {
    await withCluster(3, async (cluster) =>
      withAsker(cluster, { doesHedge }, async (asker) => {
        const [victim] = cluster.workers;
        const loading = steadyLoad(asker, perSecond, seconds * 1_000, acquaintances(100));
        await delay(stoppedAtMs);
        await victim?.pause();
        await delay(12_000);
        victim?.signal('SIGKILL');
        const asked = await loading;
        const after = asked.filter(({ atMs }) => atMs >= stoppedAtMs && atMs < 16_000);
        const missed = asked.filter((one) => !isDecided(one));
        const late = missed.filter(({ atMs }) => atMs >= 16_000);
        const took = asked.filter(isDecided).map(({ tookMs }) => tookMs);
        rows.push([
          doesHedge ? 'as the hooks ask' : 'never asked twice',
          count(after.length),
          `${count(missed.length)} (${((missed.length / after.length) * 100).toFixed(1)} %)`,
          words(missed),
          String(late.length),
          ms(quantile(took, 0.5)),
          ms(quantile(took, 0.99)),
        ]);
      }),
    );
  }
  const head = ['', 'asked while it stood', 'missed', 'as', 'missed once it was killed', 'p50 ms', 'p99 ms'];
  console.log(markdownTable(head, rows));
}

console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`);
console.log(`Questions have a budget of ${budgetMs} ms. Decided: a verdict of the source within the budget.`);
const before = machineTime();
await offerTooMuch();
await flushEverything();
await stopOne();
const after = machineTime();
const busy = (after.busyMs - before.busyMs) / (after.totalMs - before.totalMs);
const load = loadavg()[0]?.toFixed(1) ?? '?';
console.log(
  `\nThe machine was busy ${(busy * 100).toFixed(0)} % of the time, with this and all else; load average ${load}.`,
);
