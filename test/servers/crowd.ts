/**
 * Thousands of users online at one XMPP server, each a bare socket: they log in, ask for their roster, become available,
 * and from then on keep their roster as the server's pushes change it. Knows nothing of Warder.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { Parser } from '@xmpp/xml';
import type { Element } from './xmpp-client.ts';

export interface CrowdOptions {
  readonly port: number;
  readonly domain: string;
  /** Who; the password of each is the name. */
  readonly usernames: readonly string[];
  /** How many log in at once; default 32. */
  readonly concurrency?: number;
}

export interface Member {
  readonly username: string;
  /** What the client shows: contacts and their names, as the roster and the pushes since then have it. */
  readonly roster: ReadonlyMap<string, string>;
  /** Pushes that took a contact away. */
  readonly removals: number;
  readonly pushes: number;
  /** The server has closed the stream, or the connection broke. */
  readonly isGone: boolean;
}

export interface Crowd {
  readonly members: readonly Member[];
  /** Resolves when the condition holds after something came to somebody. Throws when that takes too long. */
  until(what: string, condition: () => boolean): Promise<void>;
  stop(): void;
}

const headroom = 200;
/** Against hangs only: a busy machine takes its time. */
const waitMs = 120_000;

/** @throws Error when this process may not open so many sockets, or somebody cannot log in. */
export async function startCrowd({ port, domain, usernames, concurrency = 32 }: CrowdOptions): Promise<Crowd> {
  const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity);
  if (limit < usernames.length + headroom) {
    throw new Error(`${usernames.length} users need as many open files, here and in the server: ulimit -n is ${limit}`);
  }
  const watchers = new Set<() => void>();
  const changed = (): void => {
    for (const watcher of watchers) watcher();
  };
  const members = usernames.map((username) => new CrowdMember(username, changed));
  const waiting = members.values();
  const logIn = async (): Promise<void> => {
    for (const member of waiting) await member.logIn(port, domain);
  };
  const stop = (): void => {
    for (const member of members) member.stop();
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, logIn));
  } catch (error) {
    stop();
    throw error;
  }
  return {
    members,
    until: (what, condition) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!condition()) return;
          stopLooking();
          resolve();
        };
        const timer = setTimeout(() => {
          stopLooking();
          reject(new Error(`the crowd did not come to this within ${waitMs} ms: ${what}`));
        }, waitMs);
        const stopLooking = (): void => {
          clearTimeout(timer);
          watchers.delete(look);
        };
        watchers.add(look);
        look();
      }),
    stop,
  };
}

class CrowdMember implements Member {
  readonly username: string;
  readonly roster = new Map<string, string>();
  removals = 0;
  pushes = 0;
  isGone = false;
  readonly #changed: () => void;
  #socket: Socket | undefined;

  constructor(username: string, changed: () => void) {
    this.username = username;
    this.#changed = changed;
  }

  logIn(port: number, domain: string): Promise<void> {
    const stream = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='${domain}'>`;
    const secret = Buffer.from(`\0${this.username}\0${this.username}`).toString('base64');
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1').setEncoding('utf8');
      this.#socket = socket;
      const received = (element: Element): void => {
        const { attrs, name } = element;
        if (name === 'success') {
          parser = newParser();
          socket.write(
            `${stream}<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>` +
              "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>",
          );
        } else if (name === 'iq' && attrs['id'] === 'roster' && attrs['type'] === 'error') {
          reject(new Error(`${this.username} got no roster: ${String(element)}`));
        } else if (name === 'iq') {
          this.#rosterIn(element);
        } else if (name === 'failure' || name === 'stream:error') {
          reject(new Error(`${this.username} was refused: ${String(element)}`));
        } else if (name === 'presence' && attrs['from']?.startsWith(`${this.username}@${domain}/`) === true) {
          resolve();
        }
        this.#changed();
      };
      const newParser = (): Parser => {
        const made = new Parser();
        made.on('element', received);
        return made;
      };
      let parser = newParser();
      socket.on('data', (data: Buffer | string) => parser.write(String(data)));
      socket.on('error', reject);
      socket.on('close', () => {
        this.isGone = true;
        reject(new Error(`${this.username} was thrown out`));
        this.#changed();
      });
      socket.write(`${stream}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${secret}</auth>`);
    });
  }

  #rosterIn(iq: Element): void {
    const items = iq.getChild('query', 'jabber:iq:roster')?.getChildren('item') ?? [];
    for (const { attrs } of items) {
      if (attrs['subscription'] === 'remove') this.roster.delete(attrs['jid'] ?? '');
      else this.roster.set(attrs['jid'] ?? '', attrs['name'] ?? '');
      if (iq.attrs['type'] === 'set' && attrs['subscription'] === 'remove') this.removals += 1;
    }
    if (iq.attrs['type'] !== 'set') return;
    this.pushes += 1;
    this.#socket?.write(`<iq type='result' id='${iq.attrs['id']}'/>`);
  }

  stop(): void {
    this.#socket?.destroy();
  }
}
