/** `.warder/dev.json`: how the other commands find the broker of a `warder dev` that runs in this folder or above it. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';

/** The folder of everything that `warder dev` keeps. */
export const devFolderName = '.warder';

const devState = z.object({
  /** Of the `warder dev`. */
  pid: z.number().int(),
  /** When that process began, in the kernel's ticks: a number that is used again for another is not taken for it. */
  began: z.string(),
  url: z.array(z.string()),
  prefix: z.string(),
});

export type DevState = z.output<typeof devState>;

function stateFile(folder: string): string {
  return join(folder, 'dev.json');
}

/** Makes this process known as the `warder dev` of the folder. */
export function writeDevState(folder: string, found: Pick<DevState, 'url' | 'prefix'>): void {
  const state: DevState = { pid: process.pid, began: beginningOf(process.pid), ...found };
  writeFileSync(stateFile(folder), `${JSON.stringify(state)}\n`, { mode: 0o600 });
}

export function removeDevState(folder: string): void {
  rmSync(stateFile(folder), { force: true });
}

/** The one that runs now, looked for from a folder upwards; undefined when none does. */
export function findDevState(from: string): DevState | undefined {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const state = runningDev(join(folder, devFolderName));
    if (state !== undefined) return state;
    if (folder === dirname(folder)) return undefined;
  }
}

/** The one that keeps its things in this folder; undefined when none runs. */
export function runningDev(folder: string): DevState | undefined {
  try {
    const state = devState.parse(JSON.parse(readFileSync(stateFile(folder), 'utf8')));
    return isRunning(state.pid) && beginningOf(state.pid) === state.began ? state : undefined;
  } catch {
    return undefined; // no such file, or none that we wrote
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Empty where there is no /proc. */
function beginningOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; field 22 is the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
