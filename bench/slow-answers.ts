/** An HTTP service in a bench that gives one answer after so many milliseconds. `GET /counts` says how often it was asked since the last time, and how many times at once. */
import { createServer } from 'node:http';

/** Prints the port that it got, for whoever has started the process. */
export function serveSlowly(answer: Buffer, answerMs: number): void {
  let asked = 0;
  let underWay = 0;
  let most = 0;
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('Content-Type', 'application/json');
    if (request.url === '/counts') {
      response.end(JSON.stringify({ asked, most }));
      asked = 0;
      most = 0;
      return;
    }
    asked += 1;
    underWay += 1;
    most = Math.max(most, underWay);
    setTimeout(() => {
      underWay -= 1;
      response.end(answer);
    }, answerMs);
  });
  server.keepAliveTimeout = 600_000; // longer than any pause between two rounds
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.stdout.write(`ready on ${typeof address === 'object' ? address?.port : 'no port'}\n`);
  });
}
