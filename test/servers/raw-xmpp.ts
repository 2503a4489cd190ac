/** XMPP by hand over a socket, for what a well-behaved client library does not do: act before it may, vanish, resume. */
import { Parser } from '@xmpp/xml';
import { connect } from 'node:net';
import { Inbox } from './inbox.ts';
import type { Element } from './xmpp-client.ts';

export interface RawStream {
  write(xml: string): void;
  /** Takes the first element that matches, waiting for it if need be. Throws with what came instead. */
  take(what: string, matches: (element: Element) => boolean): Promise<Element>;
  /** Everything that came and was not taken yet, in order. */
  readonly inbox: Element[];
  /** Authenticates with PLAIN and opens the stream anew. */
  authenticate(username: string): Promise<void>;
  /** Binds a resource and returns the full JID. */
  bind(resource: string): Promise<string>;
  /** Ends the TCP connection without a word. */
  vanish(): void;
}

export async function openStream(port: number, domain: string): Promise<RawStream> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  socket.on('error', () => undefined); // shows as an element that does not come
  const inbox = new Inbox(() => `the stream to ${domain}`);
  let parser = new Parser();
  socket.on('data', (data: Buffer | string) => parser.write(String(data)));

  const take: RawStream['take'] = (what, matches) => inbox.take(what, matches);
  const write = (xml: string): void => void socket.write(xml);
  const open = async (): Promise<void> => {
    parser = new Parser();
    parser.on('element', (element: Element) => inbox.receive(element));
    write(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='${domain}'>`,
    );
    await take('the features of the stream', named('stream:features'));
  };
  await open();
  return {
    write,
    take,
    inbox: inbox.elements,
    authenticate: async (username) => {
      const secret = Buffer.from(`\0${username}\0${username}`).toString('base64');
      write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${secret}</auth>`);
      await take('success', named('success'));
      await open();
    },
    bind: async (resource) => {
      write(
        `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>${resource}</resource></bind></iq>`,
      );
      const result = await take('the bound resource', (element) => element.attrs['id'] === 'bind');
      return result.getChild('bind')?.getChildText('jid') ?? '';
    },
    vanish: () => void socket.destroy(),
  };
}

export function named(name: string): (element: Element) => boolean {
  return (element) => element.name === name;
}
