/** The processes of the bench: the broker, and the three that answer, each as it would run by itself. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startNatsServer } from '../test/servers/nats-server.ts';
import { startProcess } from '../test/servers/process.ts';
import type { Target } from './load.ts';
import { echoSubject } from './requests.ts';
import type { RequestFiles } from './requests.ts';

export const names = ['echo', 'worker', 'http'] as const;
export type Name = (typeof names)[number];

export interface Responder {
  readonly name: Name;
  readonly pid: number;
  readonly target: Target;
}

export interface Responders {
  readonly all: readonly Responder[];
  readonly broker: { readonly pid: number };
  /** The worker's metrics, in the exposition format. */
  workerMetrics(): Promise<string>;
  stop(): Promise<void>;
}

const beside = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/**
 * Starts them all; those that are not asked stand idle.
 * @param workerMain the compiled `warder` command
 */
export async function startResponders(workerMain: string, files: RequestFiles, folder: string): Promise<Responders> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  const startNode = async (args: readonly string[], ready: RegExp) => {
    const child = await startProcess({ command: process.execPath, args });
    stops.push(() => child.stop());
    return { child, match: await child.waitForOutput(ready) };
  };
  try {
    const broker = await startNatsServer({ jetstream: true });
    stops.push(() => broker.stop());
    const http = await startNode([beside('./http-service.js')], /ready on (\d+)/);
    const httpPort = Number(http.match[1]);
    const echo = await startNode([beside('./echo.js'), broker.url], /ready/);
    const config = join(folder, 'worker.yaml');
    writeFileSync(config, workerConfig(broker.url, httpPort));
    const worker = await startNode([workerMain, 'worker', '--config', config], /"http":"([^"]+)".*worker ready/);
    const subject = 'xmpp.policy.v1.stanza-check';
    return {
      all: [
        { name: 'echo', pid: echo.child.pid, target: ['nats', broker.port, files.echo, echoSubject] },
        { name: 'worker', pid: worker.child.pid, target: ['nats', broker.port, files.worker, subject] },
        { name: 'http', pid: http.child.pid, target: ['http', httpPort, files.http] },
      ],
      broker,
      workerMetrics: async () => (await fetch(`${worker.match[1] ?? ''}/metrics`)).text(),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function workerConfig(natsUrl: string, httpPort: number): string {
  return JSON.stringify({
    nats: { url: natsUrl },
    http: { listen: '127.0.0.1:0' },
    operations: { 'stanza-check': { sources: 'service' } },
    sources: { service: { type: 'http', url: `http://127.0.0.1:${httpPort}/stanza-check` } },
  });
}
