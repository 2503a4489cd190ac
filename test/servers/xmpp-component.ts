/** An external component (XEP-0114) for tests: a gateway whose users are whoever it says. */
import { Parser } from '@xmpp/xml';
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { Inbox } from './inbox.ts';
import type { Element } from './xmpp-client.ts';

export interface TestComponent {
  readonly domain: string;
  /** Everything that came and was not taken yet, in order. */
  readonly inbox: Element[];
  send(...stanzas: Element[]): void;
  /** Takes the first stanza that matches, waiting for it if need be. Throws with what came instead. */
  take(what: string, matches: (stanza: Element) => boolean): Promise<Element>;
  stop(): void;
}

export async function connectComponent(port: number, domain: string, secret: string): Promise<TestComponent> {
  const socket = connect(port, '127.0.0.1');
  const parser = new Parser();
  const inbox = new Inbox(() => domain);
  socket.setEncoding('utf8').on('data', (data: Buffer | string) => parser.write(String(data)));
  socket.on('error', () => undefined); // shows as a stanza that does not come
  parser.on('start', (stream) => {
    const digest = createHash('sha1')
      .update(`${stream.attrs['id'] ?? ''}${secret}`)
      .digest('hex');
    socket.write(`<handshake>${digest}</handshake>`);
  });
  parser.on('element', (stanza: Element) => inbox.receive(stanza));
  socket.write(
    `<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='${domain}'>`,
  );
  await inbox.take('the end of the handshake', (element) => element.name === 'handshake');
  return {
    domain,
    inbox: inbox.elements,
    send: (...stanzas) => void socket.write(stanzas.map(String).join('')),
    take: (what, matches) => inbox.take(what, matches),
    stop: () => void socket.destroy(),
  };
}
