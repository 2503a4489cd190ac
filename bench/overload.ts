/**
 * `npm run bench:overload`: what one worker answers when it is offered three times what its source can do, what a flush of
 * everything does to the source, and what a stopped worker among three costs. Takes two minutes. `docs/operations.md`
 * says what the figures mean.
 */
import { cpus, loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { startHookAsker } from '../test/servers/hook-asker.ts';
import type { HookAsker, HookAskerOptions } from '../test/servers/hook-asker.ts';
import { machineTime } from './cpu.ts';
import { answerMs, maxConcurrent, startOverloadCluster } from './overload-cluster.ts';
import type { OverloadCluster } from './overload-cluster.ts';
import { acquaintances, isDecided, steadyLoad, strangers, words } from './steady-load.ts';
import { quantile } from './stopwatch.ts';
import { markdownTable, median } from './table.ts';

const budgetMs = 250;
/** What the source can do at the most: so many calls at once, each of so many milliseconds. */
const limit = (maxConcurrent * 1_000) / answerMs;
const warmUpMs = 500;
const capacitySeconds = 1.5;
const overloadSeconds = 2.5;
const overloadRounds = 9;

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
  work: (asker: HookAsker) => Promise<T>,
): Promise<T> {
  const asker = await startHookAsker(cluster.natsUrl, { budgetMs, ...options });
  try {
    return await work(asker);
  } finally {
    await asker.stop();
  }
}

const ms = (value: number): string => value.toFixed(0);
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const count = (value: number): string => Math.round(value).toLocaleString('en');

/**
 * What the worker decides a second when it always has as much to do as its source takes, and no more: its capacity here and
 * now, on a machine that has other work as well.
 */
async function capacityOf(asker: HookAsker, round: number): Promise<number> {
  const pairOf = strangers(`round${round}-`);
  let asked = 0;
  let decided = 0;
  let isCounting = false;
  const over = new AbortController();
  const askOn = async () => {
    while (!over.signal.aborted) {
      const outcome = await asker.ask(...pairOf((asked += 1)));
      if (isCounting && isDecided(outcome)) decided += 1;
    }
  };
  const asking = Promise.all(Array.from({ length: maxConcurrent }, askOn));
  await delay(warmUpMs);
  isCounting = true;
  const beganMs = performance.now();
  await delay(capacitySeconds * 1_000);
  const perSecond = (decided * 1_000) / (performance.now() - beganMs);
  over.abort();
  await asking;
  return perSecond;
}

async function offerTooMuch(): Promise<void> {
  console.log(
    `\n## One worker, a source of ${answerMs} ms that takes ${maxConcurrent} calls at once, three times too much\n`,
  );
  const rows: string[][] = [];
  const shares: number[] = [];
  const p99s: number[] = [];
  await withCluster(1, async (cluster) =>
    withAsker(cluster, {}, async (asker) => {
      for (let round = 1; round <= overloadRounds; round += 1) {
        const capacity = await capacityOf(asker, round);
        await cluster.counts();
        const pairOf = strangers(`overload${round}-`);
        const asked = await steadyLoad(asker, capacity * 3, overloadSeconds * 1_000, pairOf);
        const { asked: calls, most } = await cluster.counts();
        // The queue of the source fills at first.
        const counted = asked.filter(({ atMs }) => atMs >= warmUpMs);
        const decided = counted.filter(isDecided);
        const perSecond = decided.length / (overloadSeconds - warmUpMs / 1_000);
        // Of all that were not refused; who heard nothing in time has waited for longer than that.
        const took = counted.filter(({ word }) => word !== 'overloaded').map(({ tookMs }) => tookMs);
        p99s.push(quantile(took, 0.99));
        shares.push(perSecond / capacity);
        rows.push([
          String(round),
          count(capacity),
          count(capacity * 3),
          count(perSecond),
          percent(perSecond / capacity),
          ms(quantile(took, 0.5)),
          ms(quantile(took, 0.99)),
          String(most),
          percent(asked.filter(isDecided).length / calls),
          words(counted.filter((one) => !isDecided(one))),
        ]);
      }
    }),
  );
  const head = ['round', 'can a second', 'offered', 'decided', 'of what it can', 'p50 ms', 'p99 ms', 'calls at once'];
  console.log(markdownTable([...head, 'of them in time', 'not decided'], rows));
  const [share, p99] = [median(shares), median(p99s)];
  console.log(`\n- ${share >= 0.9 ? 'reached' : 'MISSED'}: at least 90 % of what it can: ${percent(share)} (median)`);
  console.log(
    `- ${p99 <= budgetMs ? 'reached' : 'MISSED'}: p99 of what is not refused within ${budgetMs} ms: ${ms(p99)} ms (median)`,
  );
}

async function flushEverything(): Promise<void> {
  const perSecond = 500;
  const pairs = 500;
  console.log(
    `\n## One worker, ${count(perSecond)} questions a second of ${count(pairs)} pairs, and everything flushed\n`,
  );
  await withCluster(1, async (cluster) =>
    withAsker(cluster, {}, async (asker) => {
      await steadyLoad(asker, limit / 2, (pairs / (limit / 2)) * 1_000, acquaintances(pairs));
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
          `${count(missed.length)} (${percent(missed.length / after.length)})`,
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
