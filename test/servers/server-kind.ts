/** A kind of XMPP server that Warder's hook is made for, as the behaviours that all of them share need to know it. */
import type { ServerOptions, XmppServer } from './xmpp-server.ts';
import type { Element } from './xmpp-client.ts';

export interface ServerKind {
  readonly name: string;
  /** @throws Error with the server's output when it does not come up. */
  start(options: ServerOptions): Promise<XmppServer>;
  /** Whether a client gets what is sent to it while something that it has sent is being asked about. */
  readonly receivesWhileAsking: boolean;
  /** Whether it repeats its users' open requests for a subscription at each login. */
  readonly repeatsRequests: boolean;
  /** In its log when something in it went wrong that nobody provided for. */
  readonly crashed: RegExp;
  /** What a client's attempt to connect rejects with when its session is refused with this error. */
  refusal(error: RefusedWith): Readonly<Record<string, unknown>>;
  /** Whether an element refuses what was sent under this id before there was a session. */
  refusesEarly(element: Element, id: string): boolean;
  /** Whether it refuses what comes between authentication and binding; else it ignores that. */
  readonly refusesUnbound: boolean;
  /** The condition with which it refuses a stanza to what is no JID. */
  readonly malformedRecipient: string;
  /** When it resolves, a room whose last occupant has left is no more, and what comes for it finds none. */
  untilRoomEnded(server: XmppServer, room: string): Promise<void>;
  /** Takes the hook out of the running server, on all hosts, until its connection is closed. */
  unload(server: XmppServer): Promise<void>;
  /** Puts it back. */
  load(server: XmppServer): Promise<void>;
  /** The numbers of its near cache on the first host, by their names there. @throws Error without the hook */
  nearCacheStats(server: XmppServer): Promise<Readonly<Record<string, number>>>;
}

export interface RefusedWith {
  readonly type: string;
  readonly condition: string;
  readonly text?: string;
}
