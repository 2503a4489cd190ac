/**
 * `npm run bench:ejabberd`: what the hook costs an ejabberd for each message, and what its NATS client does by itself. Takes
 * less than three minutes. `docs/performance.md` says what the figures mean.
 */
import { cpus, loadavg } from 'node:os';
import { machineTime } from './cpu.ts';
import { ejabberdMessages } from './ejabberd-messages.ts';
import { ejabberdRequests } from './ejabberd-requests.ts';
import { buildModules } from './ejabberd-server.ts';

/** An end of this process ends its children too. */
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const load = () =>
  loadavg()
    .map((one) => one.toFixed(1))
    .join(', ');
console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`);
console.log(`Load averages before: ${load()}\n`);
const built = await buildModules();
try {
  const before = machineTime();
  console.log(`${await ejabberdMessages(built)}\n`);
  console.log(await ejabberdRequests(built));
  const after = machineTime();
  const busy = (after.busyMs - before.busyMs) / (after.totalMs - before.totalMs);
  console.log(`\nThe machine was busy ${(busy * 100).toFixed(0)} % of the time, with this and all else.`);
  console.log(`Load averages after: ${load()}`);
} finally {
  built.remove();
}
