/** A real worker, whose source is a service in this process that always allows, for a pair of users and for an hour. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProcess } from '../test/servers/process.ts';
import type { RunningProcess } from '../test/servers/process.ts';

export interface AllowService {
  readonly port: number;
  /** What stands in its answers as their reason from now on. */
  say(reason: string): void;
  stop(): Promise<void>;
}

export async function startAllowService(): Promise<AllowService> {
  let reason = '';
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ verdict: 'allow', scope: 'pair', ttl_ms: 3_600_000, reason }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    say: (said) => {
      reason = said;
    },
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Starts the compiled command, to ask that service about stanzas. */
export async function startWorker(natsUrl: string, servicePort: number): Promise<RunningProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-bench-worker-'));
  const file = join(folder, 'warder.yaml');
  const config = {
    nats: { url: natsUrl },
    http: { listen: '127.0.0.1:0' },
    operations: { 'stanza-check': { sources: 'app' } },
    sources: { app: { type: 'http', url: `http://127.0.0.1:${servicePort}/` } },
  };
  writeFileSync(file, JSON.stringify(config)); // JSON is YAML
  try {
    return await startProcess({
      command: process.execPath,
      args: [join(process.cwd(), 'dist/main.js'), 'worker', '--config', file],
      ready: /worker ready/,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How many questions of one operation a worker has answered since its start. */
export async function questionsOf(worker: { output(): string }, operation: string): Promise<number> {
  const [, url = ''] = /"http":"([^"]+)"/.exec(worker.output()) ?? [];
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const counted = new RegExp(`^warder_request_duration_seconds_count\\{operation="${operation}"\\} (\\d+)$`, 'm');
  return Number(counted.exec(metrics)?.[1] ?? 0);
}
