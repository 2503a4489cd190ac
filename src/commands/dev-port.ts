/** A port that is held is said at once, with who holds it and how to choose another. */
import { holderOf, isPortFree } from './port-holder.ts';

/** @throws Error naming the holder; `other` is how another port is chosen */
export async function requireFreePort(host: string, port: number, other: string): Promise<void> {
  if (await isPortFree(host, port)) return;
  throw new Error(`port ${port} is held by ${holderWords(port)}.\nTo use another port: ${other}`);
}

function holderWords(port: number): string {
  const holder = holderOf(port);
  if (holder === undefined) return 'another process, which cannot be told from here (of somebody else?)';
  const { pid, command, parentPid } = holder;
  if (command.startsWith('warder dev')) return `another warder dev, process ${pid}; to stop it: kill ${pid}`;
  if (!command.includes('-n warder-dev')) return `process ${pid}: ${command.slice(0, 200)}`;
  return parentPid === 1
    ? `a nats-server that a warder dev left behind, process ${pid}; to stop it: kill ${pid}`
    : `the nats-server of another warder dev, process ${parentPid}; to stop both: kill ${parentPid}`;
}
