/** The operator's web service, as far as a test needs one: it answers what the test says, when the test says it. */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Application {
  readonly url: string;
  /** How often it was asked. */
  readonly asked: number;
  /** What it does from now on. */
  answer(handler: (request: IncomingMessage, response: ServerResponse, body: string) => void): void;
  untilAsked(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** Answers a JSON value with status 200. */
export function json(value: unknown) {
  return (_request: IncomingMessage, response: ServerResponse): void => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value));
  };
}

export async function startApplication(): Promise<Application> {
  let handler: Parameters<Application['answer']>[0] = json({ verdict: 'allow' });
  let asked = 0;
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      asked += 1;
      for (const check of waiting) check();
      handler(request, response, body);
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
    answer: (next) => {
      handler = next;
    },
    untilAsked: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (asked < count) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
