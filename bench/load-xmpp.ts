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
  /** When each message under way was written; they arrive in the same order. */
  readonly writtenMs: number[];
  latenciesMs: number[];
  /** Characters of an end tag that the last chunk stopped in. */
  tail: Buffer;
  onDelivered: (count: number) => void;
}

export interface Delivered {
  readonly messages: number;
  readonly seconds: number;
  /** One value a message: from writing it to reading its end. */
  readonly latenciesMs: readonly number[];
}

export interface MessageLoad {
  /** Keeps `window` messages of each pair under way for so long, then waits until all have arrived. */
  run(window: number, durationMs: number): Promise<Delivered>;
  stop(): void;
}

/**
 * Logs in two accounts a pair, `sender<n>` and `recipient<n>`, whose passwords are their names.
 * @throws Error when a login fails
 */
export async function startMessageLoad(port: number, domain: string, pairCount: number): Promise<MessageLoad> {
  const sockets: Socket[] = [];
  const stop = () => {
    for (const socket of sockets) socket.removeAllListeners('data').destroy();
  };
  const pairs: Pair[] = [];
  try {
    // One after the other: a server may leave no more than a handful of connections waiting to be accepted.
    for (let index = 0; index < pairCount; index += 1) pairs.push(await startPair(port, domain, index, sockets));
  } catch (error) {
    stop();
    throw error;
  }
  return {
    run: async (window, durationMs) => {
      const begunMs = monotonicClock.now();
      const before = delivered(pairs);
      for (const pair of pairs) pair.latenciesMs = [];
      await Promise.all(pairs.map((pair) => pump(pair, window, begunMs + durationMs)));
      return {
        messages: delivered(pairs) - before,
        seconds: (monotonicClock.now() - begunMs) / 1_000,
        latenciesMs: pairs.flatMap((pair) => pair.latenciesMs),
      };
    },
    stop,
  };
}

function delivered(pairs: readonly Pair[]): number {
  return pairs.reduce((sum, pair) => sum + pair.delivered, 0);
}

async function startPair(port: number, domain: string, index: number, sockets: Socket[]): Promise<Pair> {
  const [sender, recipient] = await Promise.all([
    logIn(port, domain, `sender${index}`, sockets),
    logIn(port, domain, `recipient${index}`, sockets),
  ]);
  const message =
    `<message to='recipient${index}@${domain}/bench' type='chat' id='bench'>` +
    `<body>${'x'.repeat(bodyBytes)}</body></message>`;
  const pair: Pair = {
    sender,
    recipient,
    message,
    delivered: 0,
    writtenMs: [],
    latenciesMs: [],
    tail: Buffer.alloc(0),
    onDelivered: () => undefined,
  };
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
  if (found === 0) return;
  pair.delivered += found;
  const nowMs = monotonicClock.now();
  for (const writtenMs of pair.writtenMs.splice(0, found)) pair.latenciesMs.push(nowMs - writtenMs);
  pair.onDelivered(found);
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
        write(pair, arrived);
        return;
      }
      underWay -= arrived;
      if (underWay > 0) return;
      clearTimeout(timer);
      resolve();
    };
    write(pair, window);
  });
}

function write(pair: Pair, messages: number): void {
  const nowMs = monotonicClock.now();
  for (let n = 0; n < messages; n += 1) pair.writtenMs.push(nowMs);
  pair.sender.write(pair.message.repeat(messages));
}

/** Connects, authenticates with PLAIN (RFC 4616) and binds the resource `bench`. */
async function logIn(port: number, domain: string, username: string, sockets: Socket[]): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay();
  sockets.push(socket);
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
