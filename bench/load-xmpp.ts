/**
 * A generator of messages over XMPP: clients on bare sockets, in pairs; the one of a pair writes messages, the other only
 * counts what arrives. Parsing XML would cost more than a server takes to deliver it, so after the login nothing is parsed.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { monotonicClock } from '../src/clock.ts';

const waitMs = 10_000;
const bodyBytes = 200;
/** Every message ends with it, and nothing else that a recipient gets does. */
const messageEnd = Buffer.from('</message>');

/** Two clients that are logged in, the messages between them under way. */
interface Pair {
  readonly sender: Socket;
  readonly recipient: Socket;
  readonly message: string;
  delivered: number;
  /** Characters of an end tag that the last chunk stopped in. */
  tail: Buffer;
  onDelivered: (count: number) => void;
}

export interface MessageLoad {
  /** Keeps `window` messages of each pair under way for so long, then waits until all have arrived. */
  run(window: number, durationMs: number): Promise<{ readonly messages: number; readonly seconds: number }>;
  stop(): void;
}

/**
 * Logs in two accounts a pair, `sender<n>` and `recipient<n>`, whose passwords are their names.
 * @throws Error when a login fails
 */
export async function startMessageLoad(port: number, domain: string, pairCount: number): Promise<MessageLoad> {
  const pairs = await Promise.all(Array.from({ length: pairCount }, (_, index) => startPair(port, domain, index)));
  return {
    run: async (window, durationMs) => {
      const begunMs = monotonicClock.now();
      const before = delivered(pairs);
      await Promise.all(pairs.map((pair) => pump(pair, window, begunMs + durationMs)));
      return { messages: delivered(pairs) - before, seconds: (monotonicClock.now() - begunMs) / 1_000 };
    },
    stop: () => {
      for (const { sender, recipient } of pairs) {
        sender.destroy();
        recipient.destroy();
      }
    },
  };
}

function delivered(pairs: readonly Pair[]): number {
  return pairs.reduce((sum, pair) => sum + pair.delivered, 0);
}

async function startPair(port: number, domain: string, index: number): Promise<Pair> {
  const [sender, recipient] = await Promise.all([
    logIn(port, domain, `sender${index}`),
    logIn(port, domain, `recipient${index}`),
  ]);
  const message =
    `<message to='recipient${index}@${domain}/bench' type='chat' id='bench'>` +
    `<body>${'x'.repeat(bodyBytes)}</body></message>`;
  const pair: Pair = { sender, recipient, message, delivered: 0, tail: Buffer.alloc(0), onDelivered: () => undefined };
  sender.on('data', (chunk: Buffer) => {
    // Only errors come here.
    throw new Error(`a sender was told: ${chunk.toString()}`);
  });
  recipient.on('data', (chunk: Buffer) => count(pair, chunk));
  return pair;
}

function count(pair: Pair, chunk: Buffer): void {
  const data = pair.tail.length === 0 ? chunk : Buffer.concat([pair.tail, chunk]);
  let found = 0;
  let end = 0;
  for (let at = data.indexOf(messageEnd); at !== -1; at = data.indexOf(messageEnd, end)) {
    found += 1;
    end = at + messageEnd.length;
  }
  pair.tail = data.subarray(Math.max(end, data.length - messageEnd.length + 1));
  pair.delivered += found;
  if (found > 0) pair.onDelivered(found);
}

/** @throws Error when messages do not arrive */
function pump(pair: Pair, window: number, untilMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let underWay = window;
    const timer = setTimeout(
      () => reject(new Error(`${underWay} messages did not arrive`)),
      untilMs - monotonicClock.now() + waitMs,
    );
    pair.onDelivered = (arrived) => {
      if (monotonicClock.now() < untilMs) {
        pair.sender.write(pair.message.repeat(arrived));
        return;
      }
      underWay -= arrived;
      if (underWay > 0) return;
      clearTimeout(timer);
      resolve();
    };
    pair.sender.write(pair.message.repeat(window));
  });
}

/** Connects, authenticates with PLAIN (RFC 4616) and binds the resource `bench`. */
async function logIn(port: number, domain: string, username: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay();
  const header = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='${domain}'>`;
  const secret = Buffer.from(`\0${username}\0${username}`).toString('base64');
  await say(socket, header, '</stream:features>');
  await say(socket, `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${secret}</auth>`, '<success');
  await say(socket, header, '</stream:features>');
  const bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind>";
  await say(socket, `<iq type='set' id='bind'>${bind}</iq>`, '</iq>');
  return socket;
}

function say(socket: Socket, xml: string, answer: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = '';
    const settle = () => {
      clearTimeout(timer);
      socket.off('data', onData).off('error', onError);
    };
    const onData = (chunk: Buffer) => {
      received += chunk.toString();
      if (!received.includes(answer)) return;
      settle();
      resolve();
    };
    const onError = (error: Error) => {
      settle();
      reject(error);
    };
    const timer = setTimeout(
      () => onError(new Error(`${answer} did not come within ${waitMs} ms but ${received}`)),
      waitMs,
    );
    socket.on('data', onData).on('error', onError);
    socket.write(xml);
  });
}
