/** What the tests use of @xmpp/client, which brings no types. */
declare module '@xmpp/client' {
  export interface Element {
    readonly name: string;
    readonly attrs: Readonly<Record<string, string | undefined>>;
    readonly children: readonly (Element | string)[];
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildElements(): Element[];
    getChildText(name: string, xmlns?: string): string | null;
    getNS(): string;
    text(): string;
    toString(): string;
  }

  export interface ClientOptions {
    service: string;
    domain: string;
    username: string;
    credentials: (authenticate: (credentials: object, mechanism: string) => Promise<void>) => Promise<void>;
    resource?: string;
    /** For the opening of a stream, and for its closing; milliseconds, 2000 if absent. */
    timeout?: number;
  }

  export interface XmppClient {
    readonly status: string;
    readonly reconnect: { stop(): void };
    start(): Promise<{ toString(): string }>;
    stop(): Promise<void>;
    disconnect(): Promise<void>;
    send(stanza: Element): Promise<void>;
    write(xml: string): Promise<void>;
    on(event: 'stanza', listener: (stanza: Element) => void): this;
    on(event: 'error', listener: (error: Error) => void): this;
    on(event: 'close' | 'disconnect' | 'offline', listener: () => void): this;
  }

  export function client(options: ClientOptions): XmppClient;
  export function xml(
    name: string,
    attrs?: Readonly<Record<string, string | undefined>>,
    ...children: (Element | string)[]
  ): Element;
}
