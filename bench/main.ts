/**
 * `npm run bench`: what a worker costs beside an echo in bare nats.js, and beside the same decisions asked over HTTP.
 * Takes two minutes. `docs/performance.md` says what the figures mean.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileLoad } from './load.ts';
import { measure, outstandings, rounds } from './measure.ts';
import { pairCount, writeRequestFiles } from './requests.ts';
import { startResponders } from './responders.ts';
import { report } from './table.ts';

const folder = mkdtempSync(join(tmpdir(), 'warder-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const load = await compileLoad(join(process.cwd(), 'bench'), folder);
const responders = await startResponders(join(process.cwd(), 'dist/main.js'), writeRequestFiles(folder), folder);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => void responders.stop().finally(() => process.exit(1)));
}
try {
  const processors = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`;
  console.log(
    `Node ${process.versions.node}, ${processors}, ${rounds} rounds at ${outstandings.join(', ')} outstanding\n`,
  );
  const measured = await measure(load, responders);
  const [, misses = '?'] =
    /^warder_cache_requests_total\{.*"decisions".*"miss".*\} (\d+)$/m.exec(await responders.workerMetrics()) ?? [];
  console.log(report(measured));
  console.log(`The worker's cache missed ${misses} times, for ${pairCount.toLocaleString('en')} pairs.`);
} finally {
  await responders.stop();
}
