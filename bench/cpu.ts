/** CPU time as the kernel counts it: of one process with all its threads, and of the whole machine. */
import { readFileSync } from 'node:fs';

/** USER_HZ, the unit of /proc on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** User and system time of a process since its start, in milliseconds, to the 10 ms. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the program's name in brackets and may hold anything; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
}

export interface MachineTime {
  /** Of all processors together. */
  readonly busyMs: number;
  readonly totalMs: number;
}

export function machineTime(): MachineTime {
  const line = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0] ?? '';
  // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user and nice already.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, one) => sum + one, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return { busyMs: ((total - idle) * 1_000) / ticksPerSecond, totalMs: (total * 1_000) / ticksPerSecond };
}
