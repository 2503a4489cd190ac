/**
 * The application of the bench of rosters, a process of its own: every user has a hundred contacts, and each answer takes
 * a millisecond. `GET /counts` says how often it was asked since the last time, and how many times at once.
 */
import { serveSlowly } from './slow-answers.ts';

const contactCount = 100;
const answerMs = 1;

const contacts = Array.from({ length: contactCount }, (_, index) => [
  `contact${index}@example.org`,
  { name: `Contact number ${index}`, subscription: 'both', groups: [index % 2 === 0 ? 'Friends' : 'Colleagues'] },
]);
const roster = Buffer.from(JSON.stringify(Object.fromEntries(contacts)));

serveSlowly(roster, answerMs);
