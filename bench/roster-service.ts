/**
 * The application of the bench of rosters, a process of its own: every user has a hundred contacts, and each answer takes
 * a millisecond. `GET /counts` says how often it was asked since the last time, and how many times at once.
 */
import { createServer } from 'node:http';

const contactCount = 100;
const answerMs = 1;

const contacts = Array.from({ length: contactCount }, (_, index) => [
  `contact${index}@example.org`,
  { name: `Contact number ${index}`, subscription: 'both', groups: [index % 2 === 0 ? 'Friends' : 'Colleagues'] },
]);
const roster = Buffer.from(JSON.stringify(Object.fromEntries(contacts)));

let asked = 0;
let underWay = 0;
let most = 0;

const server = createServer((request, response) => {
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
    response.end(roster);
  }, answerMs);
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`ready on ${typeof address === 'object' ? address?.port : 'no port'}\n`);
});
