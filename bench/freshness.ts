/**
 * `npm run bench:freshness`: how soon a change takes effect, what it costs at a million decisions, and what the near
 * cache of the Prosody hook saves. Takes less than three minutes. `docs/performance.md` says what the figures mean.
 */
import { execFile } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { machineTime } from './cpu.ts';
import type { FlushResult } from './flush.ts';
import { messages } from './messages.ts';
import { propagation } from './propagation.ts';
import { flushReport } from './flush-table.ts';

/** An end of this process ends its children too. */
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}\n`);
const before = machineTime();
console.log(`${await propagation()}\n`);
const flush = fileURLToPath(new URL('./flush.js', import.meta.url));
const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', flush]);
console.log(`${flushReport(JSON.parse(stdout) as FlushResult)}\n`);
console.log(await messages());
const after = machineTime();
const busy = (after.busyMs - before.busyMs) / (after.totalMs - before.totalMs);
console.log(`\nThe machine was busy ${(busy * 100).toFixed(0)} % of the time, with this and all else.`);
