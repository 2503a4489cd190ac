/**
 * An XMPP client for tests: every wait has an end, and "nothing came" is shown by what comes after it, never by sleeping.
 * Knows no server and nothing of Warder.
 */
import { client, xml } from '@xmpp/client';
import type { Element, XmppClient } from '@xmpp/client';
import { randomUUID } from 'node:crypto';
import { Inbox } from './inbox.ts';

export { xml } from '@xmpp/client';
export type { Element } from '@xmpp/client';

export interface ConnectOptions {
  readonly port: number;
  readonly domain: string;
  readonly username: string;
  readonly password: string;
  readonly resource?: string;
  /** Another way in than TCP: the URL of a WebSocket. */
  readonly service?: string;
  /** Whether to send initial presence; default true. Without it a client gets no messages to its bare JID. */
  readonly presence?: boolean;
}

export interface TestClient {
  /** The full JID that the server bound. */
  readonly jid: string;
  readonly bare: string;
  /** Everything that came and was not taken yet, in order. */
  readonly inbox: Element[];
  send(stanza: Element): Promise<void>;
  /** Writes text into the stream as it is, several stanzas in one packet if need be. */
  write(text: string): Promise<void>;
  /** Takes the first stanza that matches, waiting for it if need be. Throws with what came instead. */
  take(what: string, matches: (stanza: Element) => boolean): Promise<Element>;
  /** The reply to a stanza with this id. */
  reply(id: string): Promise<Element>;
  /** Sends an iq and takes its result or error. */
  ask(type: 'get' | 'set', payload: Element, to?: string): Promise<Element>;
  /** When it resolves, all that the server had for this client before has come: a round trip through the server. */
  settle(): Promise<void>;
  /** Whether the server has closed the stream, or the connection without a word. */
  readonly closed: Promise<void>;
  stop(): Promise<void>;
}

/** Against hangs only: a busy machine takes its time. */
const waitMs = 30_000;

/** Connects, binds and, unless told otherwise, becomes available. @throws Error when the server refuses. */
export async function connectClient(options: ConnectOptions): Promise<TestClient> {
  const { port, domain, username, password, resource, presence = true } = options;
  const connection = client({
    service: options.service ?? `xmpp://127.0.0.1:${port}`,
    domain,
    username,
    timeout: waitMs,
    // SCRAM in JavaScript takes a third of a second; the loopback needs no secret kept.
    credentials: (authenticate) => authenticate({ username, password }, 'PLAIN'),
    ...(resource === undefined ? {} : { resource }),
  });
  connection.reconnect.stop();
  let jid = `${username}@${domain}`;
  const inbox = new Inbox(() => jid);
  let ended: (() => void) | undefined;
  const closed = new Promise<void>((resolve) => (ended = resolve));
  connection.on('stanza', (stanza) => inbox.receive(stanza));
  connection.on('error', () => undefined); // a failed start rejects below; later ones show as a missing stanza
  connection.on('close', () => ended?.());
  connection.on('disconnect', () => ended?.());
  jid = String(await bounded(connection.start(), `${username}@${domain} did not get a session`));

  const take: TestClient['take'] = (what, matches) => inbox.take(what, matches);
  const reply = (id: string): Promise<Element> => take(`a reply to ${id}`, (stanza) => stanza.attrs['id'] === id);
  const ask: TestClient['ask'] = async (type, payload, to) => {
    const id = randomUUID();
    await connection.send(xml('iq', { type, id, ...(to === undefined ? {} : { to }) }, payload));
    return reply(id);
  };
  const self: TestClient = {
    jid,
    bare: jid.split('/')[0] ?? jid,
    inbox: inbox.elements,
    send: (stanza) => connection.send(stanza),
    write: (text) => connection.write(text),
    take,
    reply,
    ask,
    // To the own account, which no policy comes between.
    settle: async () => void (await ask('get', xml('ping', { xmlns: 'urn:xmpp:ping' }))),
    closed,
    stop: () => stop(connection),
  };
  if (presence) {
    await self.send(xml('presence'));
    await self.take('its own presence', (stanza) => stanza.name === 'presence' && stanza.attrs['from'] === jid);
  }
  inbox.elements.length = 0; // what belongs to the opening of a session is nobody's concern
  return self;
}

/** A message, chat unless told otherwise. */
export function message(to: string, body: string, attrs: Readonly<Record<string, string>> = {}): Element {
  return xml('message', { to, type: 'chat', id: randomUUID(), ...attrs }, xml('body', {}, body));
}

export function hasBody(body: string): (stanza: Element) => boolean {
  return (stanza) => stanza.name === 'message' && stanza.getChildText('body') === body;
}

export function isFrom(jid: string): (stanza: Element) => boolean {
  return (stanza) => stanza.attrs['from'] === jid;
}

/** Presence that asks to enter a room. */
export function joinOf(room: string, nick: string, attrs: Readonly<Record<string, string>> = {}): Element {
  return xml('presence', { to: `${room}/${nick}`, id: randomUUID(), ...attrs }, xml('x', { xmlns: mucNamespace }));
}

/** Enters a room and waits for the own presence in it; throws with what came instead. */
export async function enterRoom(who: TestClient, room: string, nick: string): Promise<void> {
  await who.send(joinOf(room, nick));
  await who.take(`its presence in ${room}`, (stanza) => isFrom(`${room}/${nick}`)(stanza) && isOwnPresence(stanza));
}

/** Presence that a room reflects to the one whose it is (XEP-0045 section 7.2.2, code 110). */
export function isOwnPresence(stanza: Element): boolean {
  const codes = stanza.getChild('x', `${mucNamespace}#user`)?.getChildren('status') ?? [];
  return stanza.name === 'presence' && codes.some((status) => status.attrs['code'] === '110');
}

const mucNamespace = 'http://jabber.org/protocol/muc';
const stanzaErrors = 'urn:ietf:params:xml:ns:xmpp-stanzas';

/** What an error stanza says, as a client reads it. */
export function errorOf(stanza: Element): { type?: string; condition?: string; text?: string } {
  const error = stanza.getChild('error');
  const condition = error?.getChildElements().find((child) => child.getNS() === stanzaErrors && child.name !== 'text');
  const text = error?.getChildText('text', stanzaErrors);
  return {
    ...(error?.attrs['type'] === undefined ? {} : { type: error.attrs['type'] }),
    ...(condition === undefined ? {} : { condition: condition.name }),
    ...(text === null || text === undefined ? {} : { text }),
  };
}

async function bounded<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${waitMs} ms`)), waitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A server that was killed answers no closing stream; waiting for it is then pointless. */
async function stop(connection: XmppClient): Promise<void> {
  if (connection.status === 'offline' || connection.status === 'disconnect') return;
  await bounded(connection.stop(), 'no goodbye').catch(() => undefined);
}
