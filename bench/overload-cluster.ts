/** What the bench of overload asks: a broker as deploy/nats sets it, a slow service, and workers, each a process. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startProcess } from '../test/servers/process.ts';
import type { RunningProcess } from '../test/servers/process.ts';

/** Of the service. */
export const answerMs = 50;
/** Calls that a worker makes at once: few, so that it is the source that is at its limit and not the machine. */
export const maxConcurrent = 8;

/** As in deploy/nats: how soon the broker misses who is stopped. */
const pings = 'ping_interval: "2s"\nping_max: 2\nwrite_deadline: "2s"\n';

export interface OverloadCluster {
  readonly natsUrl: string;
  readonly workers: readonly RunningProcess[];
  /** Of the service, since the last time. */
  counts(): Promise<{ asked: number; most: number }>;
  /** The sum of a metric over all workers. */
  metric(name: string, labels?: string): Promise<number>;
  stop(): Promise<void>;
}

export async function startOverloadCluster(workerCount: number): Promise<OverloadCluster> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const script = fileURLToPath(new URL('./slow-service.js', import.meta.url));
    const args = [script, String(answerMs)];
    const service = await startProcess({ command: process.execPath, args, ready: /ready on \d+/ });
    stops.push(() => service.stop());
    const serviceUrl = `http://127.0.0.1:${/ready on (\d+)/.exec(service.output())?.[1] ?? ''}`;
    const broker = await startNatsServer({ jetstream: true, extraConfig: pings });
    stops.push(() => broker.stop());
    const folder = mkdtempSync(join(tmpdir(), 'warder-bench-overload-'));
    stops.push(async () => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'warder.yaml');
    const config = {
      nats: { url: broker.url },
      http: { listen: '127.0.0.1:0' },
      operations: { 'stanza-check': { sources: 'slow' } },
      sources: { slow: { type: 'http', url: `${serviceUrl}/`, max_concurrent: maxConcurrent } },
    };
    writeFileSync(file, JSON.stringify(config)); // JSON is YAML
    const workers: RunningProcess[] = [];
    for (let count = 0; count < workerCount; count += 1) {
      const main = [join(process.cwd(), 'dist/main.js'), 'worker', '--config', file];
      const worker = await startProcess({ command: process.execPath, args: main, ready: /worker ready/ });
      stops.push(() => worker.stop());
      workers.push(worker);
    }
    return {
      natsUrl: broker.url,
      workers,
      counts: async () => (await (await fetch(`${serviceUrl}/counts`)).json()) as { asked: number; most: number },
      metric: async (name, labels = '') => {
        const each = await Promise.all(workers.map((worker) => metricOf(worker, name, labels)));
        return each.reduce((sum, value) => sum + value, 0);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function metricOf(worker: RunningProcess, name: string, labels: string): Promise<number> {
  const url = /"http":"([^"]+)"/.exec(worker.output())?.[1] ?? '';
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(name) && /[ {]/.test(line.charAt(name.length)));
  const wanted = lines.filter((line) => line.includes(labels)).map((line) => Number(line.split(' ').at(-1)));
  return wanted.reduce((sum, value) => sum + value, 0);
}
