/** A way to a server on loopback that a test can cut, and close, and on which it can lose one answer. Knows no protocol. */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Cuts every connection; who comes again is let through. */
  cut(): void;
  /**
   * Once: cuts everything in place of the first piece of data from the server that has this text in it, and lets nobody
   * through until `open`. Resolves when it has happened.
   */
  loseAnswer(text: string): Promise<void>;
  open(): void;
  stop(): Promise<void>;
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let isOpen = true;
  let toLose: { readonly text: string; readonly lost: () => void } | undefined;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const follow = (socket: Socket, other: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const server = createServer((client) => {
    if (!isOpen) return void client.destroy();
    const target = connect(targetPort, '127.0.0.1');
    follow(client, target);
    follow(target, client);
    client.pipe(target);
    target.on('data', (data) => {
      if (toLose === undefined || !data.includes(toLose.text)) return void client.write(data);
      const { lost } = toLose;
      toLose = undefined;
      isOpen = false;
      cut();
      lost();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut,
    loseAnswer: (text) =>
      new Promise((lost) => {
        toLose = { text, lost };
      }),
    open: () => {
      isOpen = true;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
