/** The floor: what a responder in bare nats.js costs that only sends back what it got. A process of its own. */
import { connect } from 'nats';
import { echoSubject } from './requests.ts';

const nats = await connect({ servers: process.argv[2] ?? '' });
nats.subscribe(echoSubject, { queue: 'bench', callback: (_error, message) => message.respond(message.data) });
await nats.flush();
process.stdout.write('ready\n');
