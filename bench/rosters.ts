/**
 * `npm run bench:rosters`: what it costs to refresh the rosters of all users, of one in a hundred, and of one. Takes less
 * than a minute. `docs/performance.md` says what the figures mean.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startProcess } from '../test/servers/process.ts';
import { cpuMsOf, machineTime } from './cpu.ts';
import { machineNow, quantile } from './stopwatch.ts';
import { markdownTable } from './table.ts';

const userCount = 10_000;
const mebibyte = 1_048_576;

/** Whose rosters, and how often in a row: enough for the kernel's clock of processor time, which counts in 10 ms. */
const refreshes = [
  { what: 'all, the first time', users: userCount, rounds: 1 },
  { what: 'all', users: userCount, rounds: 5 },
  { what: 'one in a hundred', users: userCount / 100, rounds: 100 },
  { what: 'one', users: 1, rounds: 2_000 },
];

const stops: (() => Promise<unknown>)[] = [];
const stop = async () => {
  for (const one of stops.splice(0).toReversed()) await one();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => void stop().finally(() => process.exit(1)));

async function start(): Promise<{ worker: { pid: number; url: string }; service: string }> {
  const script = fileURLToPath(new URL('./roster-service.js', import.meta.url));
  const service = await startProcess({ command: process.execPath, args: [script], ready: /ready on \d+/ });
  stops.push(() => service.stop());
  const broker = await startNatsServer({ jetstream: true });
  stops.push(() => broker.stop());
  const serviceUrl = `http://127.0.0.1:${/ready on (\d+)/.exec(service.output())?.[1] ?? ''}`;
  const folder = mkdtempSync(join(tmpdir(), 'warder-bench-rosters-'));
  stops.push(async () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'warder.yaml');
  const config = {
    nats: { url: broker.url },
    http: { listen: '127.0.0.1:0' },
    cache: { max_rosters: 2 * userCount },
    operations: { 'roster-refresh': { sources: 'contacts' } },
    // A busy machine takes its time; what is measured is how much.
    sources: { contacts: { type: 'roster-http', url: `${serviceUrl}/{jid}`, timeout_ms: 30_000 } },
  };
  writeFileSync(file, JSON.stringify(config)); // JSON is YAML
  const worker = await startProcess({
    command: process.execPath,
    args: [join(process.cwd(), 'dist/main.js'), 'worker', '--config', file],
    ready: /worker ready/,
  });
  stops.push(() => worker.stop());
  return { worker: { pid: worker.pid, url: /"http":"([^"]+)"/.exec(worker.output())?.[1] ?? '' }, service: serviceUrl };
}

/** Resident and heap, in MiB. */
async function memoryOf(url: string): Promise<[number, number]> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const read = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1]) / mebibyte;
  return [read('process_resident_memory_bytes'), read('nodejs_heap_size_used_bytes')];
}

async function countsOf(service: string): Promise<{ asked: number; most: number }> {
  return (await (await fetch(`${service}/counts`)).json()) as { asked: number; most: number };
}

/** @throws Error unless each of the users was fetched */
async function refresh(url: string, users: readonly string[]): Promise<void> {
  const response = await fetch(`${url}/roster_admin/refresh`, { method: 'POST', body: JSON.stringify(users) });
  const answer = (await response.json()) as { updated?: number; errors?: number };
  if (answer.updated !== users.length || answer.errors !== 0) throw new Error(`answered ${JSON.stringify(answer)}`);
}

console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}\n`);
const before = machineTime();
try {
  const { worker, service } = await start();
  const everybody = Array.from({ length: userCount }, (_, index) => `user${index}@example.org`);
  const [emptyMiB, emptyHeapMiB] = await memoryOf(worker.url);
  const rows: string[][] = [];
  for (const { what, users, rounds } of refreshes) {
    await countsOf(service);
    const cpuBeganMs = cpuMsOf(worker.pid);
    const tookMs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const first = (round * users) % userCount;
      const beganMs = machineNow();
      await refresh(worker.url, everybody.slice(first, first + users));
      tookMs.push(machineNow() - beganMs);
    }
    const cpuUs = ((cpuMsOf(worker.pid) - cpuBeganMs) * 1_000) / (rounds * users);
    const { asked, most } = await countsOf(service);
    const median = quantile(tookMs, 0.5);
    const [residentMiB, heapMiB] = await memoryOf(worker.url);
    rows.push([
      what,
      users.toLocaleString('en'),
      median.toFixed(1),
      quantile(tookMs, 0.99).toFixed(1),
      Math.round((users * 1_000) / median).toLocaleString('en'),
      (asked / rounds).toLocaleString('en'),
      String(most),
      cpuUs.toFixed(0),
      residentMiB.toFixed(0),
      heapMiB.toFixed(0),
    ]);
  }
  const head = ['refreshed', 'users', 'p50 ms', 'p99 ms', 'users/s', 'requests', 'at once', 'CPU µs a user'];
  console.log(markdownTable([...head, 'MiB resident', 'MiB heap'], rows));
  console.log(`\nThe worker began with ${emptyMiB.toFixed(0)} MiB resident, ${emptyHeapMiB.toFixed(0)} MiB of heap.`);
} finally {
  await stop();
}
const after = machineTime();
const busy = (after.busyMs - before.busyMs) / (after.totalMs - before.totalMs);
console.log(`The machine was busy ${(busy * 100).toFixed(0)} % of the time, with this and all else.`);
