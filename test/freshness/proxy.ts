/**
 * Stands between a client and a broker, or between two brokers, and does what networks do: cuts, holds, and loses what
 * says that something was invalidated.
 */
import { createServer, connect as connectTcp } from 'node:net';
import type { Server, Socket } from 'node:net';

interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** The user in the first bytes, which is how a broker's route says where it comes from. */
  from: string;
}

export class Proxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #refuses: (from: string) => boolean = () => false;
  #isHeld = false;
  losing = false;
  lost = 0;

  /** @param targetPort on 127.0.0.1 */
  constructor(targetPort: number) {
    this.#server = createServer((near) => this.#accept(near, targetPort));
  }

  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Ends every connection. */
  cut(): void {
    for (const { near, far } of this.#links) {
      near.destroy();
      far.destroy();
    }
  }

  /** Lets nothing through in either direction, and keeps everything open. */
  hold(): void {
    this.#isHeld = true;
    for (const link of this.#links) pause(link);
  }

  release(): void {
    this.#isHeld = false;
    for (const link of this.#links) resume(link);
  }

  /** Ends the connections of those who come from there, and lets none of them in. */
  refuse(refuses: (from: string) => boolean): void {
    this.#refuses = refuses;
    for (const { near, far, from } of this.#links) {
      if (!refuses(from)) continue;
      near.destroy();
      far.destroy();
    }
  }

  #accept(near: Socket, targetPort: number): void {
    const far = connectTcp({ host: '127.0.0.1', port: targetPort, noDelay: true });
    near.setNoDelay(true);
    const link: Link = { near, far, from: '' };
    this.#links.add(link);
    const end = () => {
      near.destroy();
      far.destroy();
      this.#links.delete(link);
    };
    for (const socket of [near, far]) {
      socket.on('error', end);
      socket.on('close', end);
    }
    near.on('data', (bytes: Buffer) => {
      if (link.from === '') {
        link.from = /"user":"([^"]+)"/.exec(bytes.toString('latin1'))?.[1] ?? '';
        if (link.from !== '' && this.#refuses(link.from)) {
          end();
          return;
        }
      }
      far.write(bytes);
    });
    const lossy = new LossyStream();
    far.on('data', (bytes: Buffer) => {
      for (const part of lossy.pass(bytes, this.losing)) near.write(part);
      this.lost = this.lost + lossy.takeLost();
    });
    if (this.#isHeld) pause(link);
  }
}

function pause({ near, far }: Link): void {
  near.pause();
  far.pause();
}

function resume({ near, far }: Link): void {
  near.resume();
  far.resume();
}

/** Cuts the broker's side of a connection into messages, and loses those that say what was invalidated when told to. */
class LossyStream {
  #pending: Buffer = Buffer.alloc(0);
  #lost = 0;

  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  pass(bytes: Buffer, losing: boolean): Buffer[] {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    const kept: Buffer[] = [];
    let keptTo = 0;
    let at = 0;
    for (;;) {
      const line = this.#pending.indexOf('\r\n', at);
      if (line < 0) break;
      const words = this.#pending.toString('latin1', at, line).split(' ');
      const isMessage = words[0] === 'MSG' || words[0] === 'HMSG';
      const end = isMessage ? line + 2 + Number(words.at(-1)) + 2 : line + 2;
      if (end > this.#pending.length) break;
      if (losing && isMessage && /\.invalidated?$/.test(words[1] ?? '')) {
        kept.push(this.#pending.subarray(keptTo, at));
        keptTo = end;
        this.#lost += 1;
      }
      at = end;
    }
    kept.push(this.#pending.subarray(keptTo, at));
    this.#pending = this.#pending.subarray(at);
    return kept;
  }
}
