/** Real workers as processes of their own, so that they can be killed; compiled from what is in src now. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';

const root = join(import.meta.dirname, '..', '..');
let built: string | undefined;

/** Once a test process. Below the root, where the compiled files find node_modules, beside a package.json as in dist. */
function build(): string {
  if (built !== undefined) return built;
  mkdirSync(join(root, '.warder'), { recursive: true });
  const folder = mkdtempSync(join(root, '.warder', 'test-build-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', 'src', '--outDir', join(folder, 'dist')], { cwd: root });
  built = join(folder, 'dist');
  return built;
}

/**
 * Starts `warder worker` with this configuration, on a free HTTP port.
 * @throws Error with its output when it does not get ready.
 */
export async function startWorkerProcess(
  config: { nats: { url: string } } & Record<string, unknown>,
): Promise<RunningProcess> {
  const main = join(build(), 'main.js');
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-worker-'));
  const file = join(folder, 'warder.yml');
  writeFileSync(file, JSON.stringify({ http: { listen: '127.0.0.1:0' }, ...config })); // JSON is YAML
  try {
    return await startProcess({
      command: process.execPath,
      args: [main, 'worker', '--config', file],
      ready: /worker ready/,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
