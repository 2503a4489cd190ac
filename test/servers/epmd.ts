/** The port mapper that Erlang nodes find each other by: one for a test, on loopback, never the machine's own. */
import { connect } from 'node:net';
import { freePort } from './free-port.ts';
import { startProcess } from './process.ts';

export interface Epmd {
  /** What nodes and `erl_call` need in their environment to use it. */
  readonly environment: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

export async function startEpmd(): Promise<Epmd> {
  const port = await freePort();
  const child = await startProcess({
    command: 'epmd',
    args: ['-port', String(port), '-address', '127.0.0.1'],
    ready: () => answers(port),
  });
  return {
    environment: { ERL_EPMD_PORT: String(port), ERL_EPMD_ADDRESS: '127.0.0.1' },
    stop: async () => void (await child.stop()),
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
