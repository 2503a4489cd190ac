/**
 * What the tests of rosters that change under their users begin with: a broker, the responder as the worker, and a server.
 * Says in the one order of changes that a roster has changed, and answers with what it holds then. Shows nothing by waiting.
 */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { ensureStream, streamName } from '../../src/nats/stream.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';
import type { Answer, Asked, Responder } from './responder.ts';
import type { RosterKind } from './roster-kind.ts';
import { isFrom, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';
import type { PolicyOptions, ServerOptions, XmppServer } from './xmpp-server.ts';

const prefix = 'xmpp.policy.v1';

export interface Item {
  readonly jid: string;
  readonly subscription: string;
  readonly name?: string;
  readonly ask?: string;
  readonly groups?: readonly string[];
}

export interface Roster {
  readonly items: readonly Item[];
  readonly pending?: readonly { readonly jid: string; readonly text?: string }[];
}

export interface LiveRosterScene {
  readonly broker: NatsServer;
  readonly responder: Responder;
  readonly server: XmppServer;
  /** The number of the latest change that was acknowledged; 0 without JetStream. */
  readonly sequence: number;
  /** From now on the roster of this user; nobody is told. */
  hold(user: string, ...items: Item[]): void;
  holdWhole(user: string, roster: Roster): void;
  /** What the worker answers now, or would have under another number. */
  answer(asked: Asked, sequence?: number): Answer;
  /** Says that something has changed. @returns its number */
  change(scope: Readonly<Record<string, unknown>>): Promise<number>;
  /** Numbers are lost: the next one is not the next. */
  skip(): Promise<void>;
  /** Rosters asked for so far, by user. */
  askedFor(user: string): readonly Asked[];
  untilAskedFor(user: string, count: number): Promise<void>;
  /** Logs in, takes the roster and becomes available. */
  logIn(username: string, resource?: string, domain?: string): Promise<TestClient>;
  /** What the hook counts of rosters on the server's first host. */
  stats(): Promise<Readonly<Record<string, number>>>;
  /** Another server at the same broker. */
  alsoStart(options: ServerChoice): Promise<XmppServer>;
  stop(): Promise<void>;
}

type ServerChoice = Omit<ServerOptions, 'natsUrl' | 'policy'>;

export interface LiveRosterSceneOptions extends ServerChoice {
  readonly jetstream?: boolean;
}

const policy: PolicyOptions = { roster: true, checks: [], timeoutsMs: { 'roster-refresh': 30_000 } };

export async function startLiveRosterScene(
  kind: RosterKind,
  given: LiveRosterSceneOptions = {},
): Promise<LiveRosterScene> {
  const { jetstream = true, ...serverOptions } = given;
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const broker = await startNatsServer({ jetstream });
    stops.push(() => broker.stop());
    const nats = await connect({ servers: broker.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
    stops.push(() => nats.close());
    if (jetstream) await ensureStream(nats, { prefix, replicas: 1 }, pino({ level: 'silent' }));
    const responder = await startResponder(broker.url);
    stops.push(() => responder.stop());

    const rosters = new Map<string, Roster>();
    let sequence = 0;
    const answer: LiveRosterScene['answer'] = (asked, at = sequence) => {
      const [user = ''] = asked['users'] as string[];
      const { items, pending = [] } = rosters.get(user) ?? { items: [] };
      const roster = { version: JSON.stringify(items), items: items.map((item) => ({ groups: [], ...item })), pending };
      return { seq: at, status: 'ok', message: '', updated: 1, errors: 0, rosters: { [user]: roster }, failed: {} };
    };
    responder.on('roster-refresh', (asked) => answer(asked));

    const change: LiveRosterScene['change'] = async (scope) => {
      const payload = JSON.stringify({ v: 1, ...scope });
      if (jetstream) {
        const acknowledged = await publish(nats, payload);
        sequence = Math.max(sequence, acknowledged);
        return acknowledged;
      }
      nats.publish(`${prefix}.invalidate`, payload);
      await nats.flush();
      return 0;
    };

    const clients: TestClient[] = [];
    const startNode = async (options: ServerChoice): Promise<XmppServer> => {
      const node = await kind.start({ natsUrl: broker.url, policy, ...options });
      stops.push(() => node.stop());
      await node.waitForOutput(/Connected to NATS/);
      return node;
    };
    const server = await startNode(serverOptions);
    const nodes = new Map([[server.host, server]]);
    stops.push(() => Promise.all(clients.map((client) => client.stop())));
    if (jetstream) await change({ tick: true });

    const askedFor = (user: string): readonly Asked[] =>
      responder.of('roster-refresh').filter((asked) => (asked['users'] as string[]).includes(user));
    return {
      broker,
      responder,
      server,
      get sequence() {
        return sequence;
      },
      hold: (user, ...items) => void rosters.set(user, { items }),
      holdWhole: (user, roster) => void rosters.set(user, roster),
      answer,
      change,
      skip: async () => {
        const manager = await nats.jetstreamManager();
        await manager.streams.purge(streamName(prefix), { seq: sequence + 1_000 });
        await change({ tick: true });
      },
      askedFor,
      untilAskedFor: async (user, count) => {
        while (askedFor(user).length < count)
          await responder.untilAsked('roster-refresh', responder.of('roster-refresh').length + 1);
      },
      logIn: async (username, resource, domain = server.host) => {
        const node = nodes.get(domain) ?? server;
        const client = await node.connect(username, {
          domain,
          presence: false,
          ...(resource === undefined ? {} : { resource }),
        });
        clients.push(client);
        await client.ask('get', rosterQuery);
        await client.send(xml('presence'));
        await client.take('its own presence', isFrom(client.jid));
        await client.settle();
        return client;
      },
      stats: () => kind.rosterStats(server),
      alsoStart: async (options) => {
        const node = await startNode(options);
        nodes.set(node.host, node);
        return node;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Repeated until acknowledged, as a worker does it. */
async function publish(nats: NatsConnection, payload: string): Promise<number> {
  for (;;) {
    try {
      return (await nats.jetstream({ timeout: 1_000 }).publish(`${prefix}.invalidate`, payload)).seq;
    } catch (error) {
      if (nats.isClosed()) throw error;
    }
  }
}

export const rosterQuery = xml('query', { xmlns: 'jabber:iq:roster' });

export const isPush = (stanza: Element): boolean =>
  stanza.name === 'iq' && stanza.attrs['type'] === 'set' && stanza.getChild('query', 'jabber:iq:roster') !== undefined;

export function itemsIn(iq: Element): Item[] {
  const items = iq.getChild('query', 'jabber:iq:roster')?.getChildren('item') ?? [];
  return items.map((item) => ({
    ...(item.attrs as unknown as Item),
    groups: item.getChildren('group').map((group) => group.text()),
  }));
}

/** The next change that a client is told of. */
export async function pushed(client: TestClient): Promise<Item | undefined> {
  return itemsIn(await client.take('a push', isPush))[0];
}

/** Presence of this type from a full or bare JID, subscriptions included. */
export function isPresence(from: string, type?: string): (stanza: Element) => boolean {
  return (stanza) => stanza.name === 'presence' && stanza.attrs['from'] === from && stanza.attrs['type'] === type;
}

/** What a client was told and nobody took: pushes and presence, but that a contact of these tests has no server. */
export function told(client: TestClient): string[] {
  const counts = (stanza: Element): boolean => stanza.name === 'presence' && stanza.attrs['type'] !== 'error';
  return client.inbox.filter((stanza) => isPush(stanza) || counts(stanza)).map(String);
}
