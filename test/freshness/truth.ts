/**
 * The application: what is true, and since when. Its answers carry the number of changes that had been made when it
 * was asked, so that every remembered answer tells how old it is.
 */
import { createServer } from 'node:http';
import type { Random } from './random.ts';

export interface Truth {
  readonly url: string;
  readonly asked: number;
  /** Makes a change true, from now on. Returns its number. */
  change(): number;
  /** How long answers take from now on, in milliseconds: at most this. What is answered is as old as the question. */
  slow(maxMs: number): void;
  stop(): Promise<void>;
}

export async function startTruth(random: Random): Promise<Truth> {
  let version = 0;
  let asked = 0;
  let maxMs = 0;
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      asked += 1;
      const answer = JSON.stringify({
        verdict: random.next() < 0.8 ? 'allow' : 'deny',
        scope: request.url === '/join' ? 'room' : 'pair',
        ttl_ms: 60_000,
        reason: `v=${version}`,
      });
      const send = () => response.setHeader('content-type', 'application/json').end(answer);
      if (maxMs === 0) send();
      else setTimeout(send, random.below(maxMs));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    get asked() {
      return asked;
    },
    change: () => (version += 1),
    slow: (ms) => {
      maxMs = ms;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
