/**
 * A policy service as mod_msg_filter asks one: both JIDs in the query, the verdict in XML. It allows everything, and says at
 * `/count` how often it was asked. A process of its own.
 */
import { createServer } from 'node:http';

const allowed = '<status value="allowed"><stanza1><noop/></stanza1><stanza2><noop/></stanza2></status>';
let asked = 0;

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (url.pathname === '/count') {
    response.end(String(asked));
    return;
  }
  asked += 1;
  const known = url.searchParams.has('from') && url.searchParams.has('to');
  response.writeHead(known ? 200 : 400, { 'Content-Type': 'application/xml' });
  response.end(known ? allowed : '');
});
server.keepAliveTimeout = 600_000; // longer than any pause between two rounds

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`ready on ${typeof address === 'object' ? address?.port : 'no port'}\n`);
});
