/** A real HTTP service on a free loopback port, as an operator's would be, that the test tells how to behave. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export type Behaviour = (response: ServerResponse, seen: Seen) => void;

/** Self-signed for 127.0.0.1; its key is in the repository and protects nothing. */
export const certificateFile = join(import.meta.dirname, 'tls/cert.pem');
export const keyFile = join(import.meta.dirname, 'tls/key.pem');

export class HttpService {
  readonly url: string;
  readonly seen: Seen[] = [];
  behave: Behaviour = answer(500, 'not told how to behave');
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #waiting: (() => void)[] = [];

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.#wake();
      });
    });
  }

  static async start(): Promise<HttpService> {
    return HttpService.#listen((listener) => createServer(listener), 'http');
  }

  static async startTls(): Promise<HttpService> {
    const tls = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) };
    return HttpService.#listen((listener) => createTlsServer(tls, listener), 'https');
  }

  static async #listen(make: (listener: RequestListener) => Server, scheme: string): Promise<HttpService> {
    const server = make((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const seen = { method, url, headers, body: Buffer.concat(chunks).toString() };
        service.seen.push(seen);
        service.#wake();
        service.behave(response, seen);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const service = new HttpService(server, `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return service;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Resolves once it holds; looked at whenever a request has come or a connection is gone. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #wake(): void {
    const woken = this.#waiting;
    this.#waiting = [];
    for (const resolve of woken) resolve();
  }
}

export function answer(status: number, body: string | Uint8Array, headers: Record<string, string> = {}): Behaviour {
  return (response) => {
    response.writeHead(status, headers).end(body);
  };
}

/** Reads the request and says nothing. */
export const keepSilent: Behaviour = () => undefined;

/** Cuts the connection in the middle of its answer. */
export const breakOff: Behaviour = (response) => {
  response.writeHead(200, { 'content-length': '1000' }).write('{"verd');
  response.socket?.end();
};
