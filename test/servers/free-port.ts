/** Ports for servers that cannot choose one themselves and say which. */
import { createServer } from 'node:net';

/**
 * Loopback TCP ports that were free a moment ago, all different. Another process may take one before the server binds
 * it, so a server that can choose its own port (0, or -1 for nats-server) does that instead.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, listenAnywhere));
  const ports = servers.map(({ port }) => port);
  await Promise.all(servers.map(({ close }) => close()));
  return ports;
}

/** One of `freePorts`. */
export async function freePort(): Promise<number> {
  const { port, close } = await listenAnywhere();
  await close();
  return port;
}

async function listenAnywhere(): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port');
  const close = (): Promise<void> => new Promise((resolve) => void server.close(() => resolve()));
  return { port: address.port, close };
}
