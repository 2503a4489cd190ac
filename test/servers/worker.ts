/** A worker as users run it: the built command, a process of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtMain } from './built.ts';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';

export interface WorkerProcess extends RunningProcess {
  /** Of its HTTP port. */
  readonly url: string;
}

/**
 * @param config the configuration file's text; broker and HTTP port are set by the environment
 * @param ready what it prints when it has come as far as the test needs
 */
export async function startWorkerProcess(
  natsUrl: string,
  config: string,
  ready = /"worker ready"/,
): Promise<WorkerProcess> {
  const main = await builtMain();
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-worker-'));
  const file = join(folder, 'warder.yaml');
  writeFileSync(file, config);
  const child = await startProcess({
    command: process.execPath,
    args: [main, 'worker', '--config', file],
    env: { WARDER_NATS_URL: natsUrl, WARDER_HTTP_LISTEN: '127.0.0.1:0' },
    ready,
    stopTimeoutMs: 15_000,
  }).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  void child.exited.then(() => rmSync(folder, { recursive: true, force: true }));
  const url = /"http":"([^"]+)"/.exec(child.output())?.[1] ?? '';
  return { ...child, url };
}
