/**
 * What every XMPP server of the tests can do and be told, in words that belong to none of them: each server has a file
 * of its own that writes its configuration from this. Knows no server and nothing of Warder's answers.
 */
import type { Operation } from '../../src/wire/operation.ts';
import type { ConnectOptions, TestClient } from './xmpp-client.ts';

export type StanzaHook = 'send' | 'route' | 'local' | 'receive' | 'offline';
export type StanzaKind = 'message' | 'presence' | 'iq';

/** A word for everybody, or one for senders of this server and one for those of others. */
export type Fallback = string | { readonly local: string; readonly remote: string };

/** Options of the hook; what is absent keeps its default. */
export interface PolicyOptions {
  readonly checks?: readonly Operation[];
  readonly stanzaHooks?: readonly StanzaHook[];
  readonly stanzaKinds?: readonly StanzaKind[];
  readonly timeoutsMs?: Readonly<Partial<Record<Operation, number>>>;
  readonly fallback?: Readonly<Partial<Record<Operation, Fallback>>>;
  readonly notify?: boolean;
  readonly roster?: boolean;
  /** Between the names of nested groups (XEP-0083). */
  readonly rosterDelimiter?: string;
  readonly maxStanzaSizeBytes?: number;
  readonly serverName?: string;
  readonly subjectPrefix?: string;
  readonly encoding?: 'messagepack' | 'json';
  readonly nearCache?: boolean;
  readonly nearCacheEntries?: number;
  readonly stalenessBoundMs?: number;
  readonly pushToken?: string;
}

/** A virtual host beside the first. Its rooms, if it has any, are at `rooms.` before it. */
export interface FurtherHost {
  readonly host: string;
  readonly rooms?: boolean;
  /** Whether lost streams can be resumed there (XEP-0198); default false. */
  readonly resumption?: boolean;
  /** Over what is set for all hosts, option by option; for its rooms too. */
  readonly policy?: PolicyOptions;
}

export interface ServerOptions {
  readonly natsUrl: string;
  /** The first virtual host; its rooms are at `rooms.` before it. Default `localhost`. */
  readonly host?: string;
  /** Loads Warder nowhere when false. */
  readonly warder?: boolean;
  /** For all hosts and their rooms. */
  readonly policy?: PolicyOptions;
  readonly furtherHosts?: readonly FurtherHost[];
  /** External components (XEP-0114) that may connect, by domain, with their secrets. */
  readonly components?: Readonly<Record<string, string>>;
  /** Where it listens for other servers. Absent: it talks to none. */
  readonly s2sPort?: number;
  /**
   * Where it serves HTTP on all interfaces: Warder's push paths, and clients by WebSocket at `/xmpp-websocket`. It trusts a
   * proxy on this machine. Absent: none.
   */
  readonly httpPort?: number;
  /** Where the servers of other hosts listen, in place of DNS. */
  readonly peers?: Readonly<Record<string, number>>;
}

export interface XmppServer {
  readonly host: string;
  readonly rooms: string;
  readonly port: number;
  readonly componentPort: number;
  /** Makes an account, on the first virtual host unless told otherwise; its password is its name. */
  register(username: string, domain?: string): void | Promise<void>;
  /** Removes an account as its operator would. */
  unregister(username: string, domain?: string): Promise<void>;
  /** Connects as an account, made now if it was not. All are disconnected by `stop`. */
  connect(username: string, options?: Partial<ConnectOptions>): Promise<TestClient>;
  /** Cuts every client off, whatever state its stream is in. */
  disconnectClients(): Promise<void>;
  /** All that it logged, at info and above. */
  output(): string;
  waitForOutput(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Takes over other options of the hook for all hosts, in place of the earlier ones and without a restart. */
  reconfigure(policy: PolicyOptions): Promise<void>;
  /** One command of the server's own kind (of ejabberd an Erlang expression); returns what it prints. @throws Error when it fails. */
  shell(command: string): Promise<string>;
  /** Kills it as a fault would, and starts it anew with what it has stored. Its output begins anew, too. */
  killAndRestart(): Promise<void>;
  /** SIGSTOP, resolved when it stands still. */
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
}
