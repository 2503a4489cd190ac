import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import type { Source } from '../../src/sources/source.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { sessionQuestion } from '../questions.ts';
import { make, patient } from './context.ts';
import { HttpService, answer } from './http-service.ts';

/** A server that speaks what it is told to, as soon as somebody has said something. */
async function startSpeaker(words: string): Promise<{ port: number; server: Server; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => {
      if (words !== '') socket.write(words);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, server, sockets };
}

describe('an HTTP call', () => {
  let release: (() => Promise<void>) | undefined;
  let source: Source;
  afterEach(async () => {
    await source.stop();
    await release?.();
  });
  const outcome = async () => {
    try {
      return (await source.decide?.(sessionQuestion(), patient))?.decision.verdict;
    } catch (error) {
      if (error instanceof SourceUnavailable) return error.outcome;
      throw error;
    }
  };
  const open = async (words: string, scheme: string, more: object = {}) => {
    const { port, server, sockets } = await startSpeaker(words);
    release = async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    };
    ({ source } = await make({ type: 'http', url: `${scheme}://127.0.0.1:${port}`, ...more }));
    return sockets;
  };

  it.each([
    ['another protocol', 'INFO {"server_id":"x"}\r\n'],
    ['a header that never ends', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 19\r\n\r\n{"verdict":"allow"}'],
  ])('takes %s for no answer', async (_, words) => {
    await open(words, 'http');
    expect(await outcome()).toBe('bad-answer');
  });

  it('gives its place free when a connection cannot be made in time', async () => {
    const sockets = await open('', 'https', { timeout_ms: 50, max_concurrent: 1, max_queued: 0, connections: 1 });
    expect([await outcome(), await outcome()]).toEqual(['timeout', 'timeout']);
    expect(sockets.size).toBeGreaterThan(0);
  });

  it('takes no compressed answer, as it has asked for none', async () => {
    const service = await HttpService.start();
    release = () => service.stop();
    service.behave = answer(200, gzipSync('{"verdict":"allow"}'), { 'content-encoding': 'gzip' });
    ({ source } = await make({ type: 'http', url: service.url }));
    expect(await outcome()).toBe('bad-answer');
  });

  it('goes on after thousands of calls that failed', async () => {
    const service = await HttpService.start();
    release = () => service.stop();
    ({ source } = await make({ type: 'http', url: service.url, breaker: { failures: 1_000 }, max_queued: 2_000 }));
    let count = 0;
    service.behave = (response) => {
      count += 1;
      if (count % 3 === 0) response.socket?.destroy();
      else response.writeHead(count % 2 === 0 ? 200 : 500).end('{"verdict":"allow"}');
    };
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, outcome));
    expect(new Set(outcomes).has('allow')).toBe(true);
    service.behave = answer(200, '{"verdict":"deny"}');
    expect(await outcome()).toBe('deny');
  });
});
