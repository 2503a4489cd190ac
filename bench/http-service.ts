/**
 * A policy service as one would write it without Warder: Node's own HTTP server, decisions in a Map, JSON in and out.
 * It is measured beside the worker, and it is what the worker's source asks before its cache is warm. A process of its own.
 */
import { createServer } from 'node:http';
import { pairOf, pairs } from './requests.ts';

const decisions = new Map(pairs().map((pair) => [pairOf(pair.from, pair.to), 'allow']));

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { id, from, to } = JSON.parse(Buffer.concat(chunks).toString()) as Record<'id' | 'from' | 'to', string>;
    const verdict = decisions.get(pairOf(from, to)) ?? 'deny';
    const body = JSON.stringify({ v: 1, id, verdict, ttl_ms: 3_600_000, scope: 'pair' });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
    response.end(body);
  });
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`ready on ${typeof address === 'object' ? address?.port : 'no port'}\n`);
});
