/** Real workers as processes of their own, so that they can be killed; compiled from what is in src now. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';

export interface WorkerBuild {
  /**
   * Starts `warder worker` with this configuration, on a free HTTP port.
   * @throws Error with its output when it does not get ready.
   */
  start(config: { nats: { url: string } } & Record<string, unknown>): Promise<RunningProcess>;
  /** Removes what was compiled; the workers have to be stopped before. */
  remove(): void;
}

const root = join(import.meta.dirname, '..', '..');

/** Below the root, where the compiled files find node_modules, and beside a package.json as in dist. */
export function buildWorker(): WorkerBuild {
  mkdirSync(join(root, '.warder'), { recursive: true });
  const folder = mkdtempSync(join(root, '.warder', 'test-build-'));
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', 'src', '--outDir', join(folder, 'dist')], { cwd: root });
  let started = 0;
  return {
    start: (config) => {
      const file = join(folder, `worker-${(started += 1)}.yaml`);
      writeFileSync(file, JSON.stringify({ http: { listen: '127.0.0.1:0' }, ...config })); // JSON is YAML
      const args = [join(folder, 'dist/main.js'), 'worker', '--config', file];
      return startProcess({ command: process.execPath, args, ready: /worker ready/ });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
