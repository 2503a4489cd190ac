/**
 * What the tests of rosters from end to end begin with: a broker with JetStream, the application that owns the rosters,
 * two workers, and two servers of one cluster, a.test and b.test, that reach each other by s2s: Prosodies unless told
 * otherwise.
 */
import { tmpdir } from 'node:os';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { encodingOf } from '../../src/wire/encoding.ts';
import { decodeMessagePack } from '../../src/wire/messagepack.ts';
import { Proxy } from '../freshness/proxy.ts';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import type { Ran } from './cli.ts';
import { freePorts } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProsody } from './prosody.ts';
import type { ProsodyOptions } from './prosody.ts';
import { RosterApplication } from './roster-application.ts';
import type { ServerKind } from './server-kind.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';
import { isFrom, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';
import type { PolicyOptions, ServerOptions, XmppServer } from './xmpp-server.ts';

export const prefix = 'xmpp.policy.v1';

export interface RosterScene {
  readonly broker: NatsServer;
  /** Sees what goes over the broker, and asks as an application may. */
  readonly nats: NatsConnection;
  readonly application: RosterApplication;
  readonly workers: readonly [WorkerProcess, WorkerProcess];
  /** At a.test and b.test; the second is absent where one is enough. */
  readonly nodes: readonly XmppServer[];
  /** Between each node and the broker. */
  readonly proxies: readonly Proxy[];
  /** Ports of the nodes' HTTP servers; of Prosodies only. */
  readonly httpPorts: readonly number[];
  /** Logs in at the node of the JID's domain, takes the roster and becomes available. All are disconnected by `stop`. */
  logIn(user: string, resource: string): Promise<TestClient>;
  /** Questions for rosters that went over the broker so far, whoever asked. */
  questions(): Promise<readonly Question[]>;
  /** The command line, at this broker. */
  warder(...args: string[]): Promise<Ran>;
  /** Ends one more thing with the scene, before all that was started earlier. */
  alsoStop(stop: () => Promise<unknown>): void;
  stop(): Promise<void>;
}

export interface Question {
  readonly users: readonly string[];
  readonly reason: string;
  /** The node that asks. */
  readonly server: string;
}

export interface RosterSceneOptions {
  /** Of the nodes. What is said in Lua is for Prosodies without it. */
  readonly kind?: ServerKind;
  /** More of each worker's configuration, by section. */
  readonly worker?: (application: RosterApplication) => WorkerSections;
  /** Lua for the global section of both nodes, and for each virtual host. */
  readonly options?: string;
  readonly hostOptions?: (host: string) => string;
  readonly modules?: readonly string[];
  /** 1 or 2; default 2. */
  readonly nodes?: number;
}

export interface WorkerSections {
  readonly sources?: Readonly<Record<string, object>>;
  readonly operations?: Readonly<Record<string, object>>;
  readonly [section: string]: object | undefined;
}

const policy: PolicyOptions = {
  roster: true,
  checks: ['user-removed'],
  timeoutsMs: { 'roster-refresh': 30_000, 'roster-set': 30_000, 'roster-subscription': 30_000 },
};

export async function startRosterScene(given: RosterSceneOptions = {}): Promise<RosterScene> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const main = await builtMain();
    const broker = await startNatsServer({ jetstream: true });
    stops.push(() => broker.stop());
    const nats = await connect({ servers: broker.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
    stops.push(() => nats.close());
    const questions: Question[] = [];
    nats.subscribe(`${prefix}.roster-refresh`, {
      // Hooks ask in MessagePack; what a test itself asks in JSON is no question of a hook.
      callback: (_error, { data }) => {
        if (encodingOf(data) === 'messagepack') questions.push(decodeMessagePack(data) as unknown as Question);
      },
    });
    const application = await RosterApplication.start();
    stops.push(() => application.stop());

    const config = JSON.stringify(workerConfig(application, given.worker?.(application) ?? {})); // JSON is YAML
    const startWorker = async (): Promise<WorkerProcess> => {
      const worker = await startWorkerProcess(broker.url, config);
      stops.push(() => worker.stop());
      return worker;
    };
    const workers = await Promise.all([startWorker(), startWorker()]);

    const names = ['a.test', 'b.test'].slice(0, given.nodes ?? 2);
    const s2sPorts = await freePorts(names.length);
    const httpPorts = await freePorts(names.length);
    const peers = Object.fromEntries(names.map((name, index) => [name, s2sPorts[index] ?? 0]));
    const proxies = names.map(() => new Proxy(broker.port));
    const proxyPorts = await Promise.all(proxies.map((proxy) => proxy.start()));
    stops.push(() => Promise.all(proxies.map((proxy) => proxy.stop())));
    const startNode = async (name: string, index: number): Promise<XmppServer> => {
      const place: ServerOptions = {
        natsUrl: `nats://127.0.0.1:${proxyPorts[index] ?? 0}`,
        host: name,
        s2sPort: s2sPorts[index] ?? 0,
        peers,
      };
      const startOne =
        given.kind === undefined
          ? startProsody({ ...place, ...inLua(name, index) })
          : given.kind.start({ ...place, policy: { ...policy, serverName: name } });
      const node = await startOne;
      stops.push(() => node.stop());
      await node.waitForOutput(/Connected to NATS/);
      return node;
    };
    const inLua = (name: string, index: number): Partial<ProsodyOptions> => ({
      modules: given.modules ?? [],
      options: `http_ports = { ${httpPorts[index] ?? 0} }
http_interfaces = { "127.0.0.1" }
warder_server_name = "${name}"
warder_nats_reconnect_max = 0.5
warder_push_paths = true
warder_checks = { "user-removed" }
warder_timeouts = { ["roster-refresh"] = 30, ["roster-set"] = 30, ["roster-subscription"] = 30 }
${given.options ?? ''}`,
      hostOptions: `warder_roster = true\n${given.hostOptions?.(name) ?? ''}`,
    });
    const nodes = await Promise.all(names.map(startNode));

    return {
      broker,
      nats,
      application,
      workers,
      nodes,
      proxies,
      httpPorts,
      logIn: (user, resource) => logIn(nodes, user, resource),
      // A round trip: the broker has sent here what came before.
      questions: async () => {
        await nats.flush();
        return questions;
      },
      warder: (...args) =>
        run(process.execPath, [main, ...args], { cwd: tmpdir(), env: { WARDER_NATS_URL: broker.url } }),
      alsoStop: (one) => void stops.push(one),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function workerConfig(application: RosterApplication, more: WorkerSections): object {
  return {
    // The breaker is no matter of these tests: an application that is back is asked at once.
    ...more,
    sources: {
      contacts: { type: 'roster-http', url: `${application.url}/roster/{jid}`, breaker: { failures: 1_000 } },
      ...more.sources,
    },
    operations: { 'roster-refresh': { sources: 'contacts' }, ...more.operations },
  };
}

async function logIn(nodes: readonly XmppServer[], user: string, resource: string): Promise<TestClient> {
  const [username = '', domain = ''] = user.split('@');
  const node = nodes.find(({ host }) => host === domain);
  if (node === undefined) throw new Error(`nobody is at home at ${domain}`);
  const client = await node.connect(username, { resource, presence: false });
  await client.ask('get', rosterQuery());
  await client.send(xml('presence'));
  await client.take('its own presence', isFrom(client.jid));
  await client.settle();
  return client;
}

export function rosterQuery(...items: Element[]): Element {
  return xml('query', { xmlns: 'jabber:iq:roster' }, ...items);
}

export interface ShownItem {
  readonly jid: string;
  readonly subscription: string;
  readonly name?: string;
  readonly ask?: string;
  readonly groups: readonly string[];
}

/** The items of a roster or a push, as a client reads them, by JID. */
export function itemsIn(iq: Element): ShownItem[] {
  const items = iq.getChild('query', 'jabber:iq:roster')?.getChildren('item') ?? [];
  return items
    .map((item) => ({
      ...(item.attrs as unknown as Omit<ShownItem, 'groups'>),
      groups: item.getChildren('group').map((group) => group.text()),
    }))
    .toSorted((one, other) => one.jid.localeCompare(other.jid));
}

export function isPush(stanza: Element): boolean {
  return stanza.name === 'iq' && stanza.attrs['type'] === 'set' && stanza.getChild('query') !== undefined;
}

/** A push that shows a contact with these attributes. */
export function isPushOf(contact: string, shown: Readonly<Record<string, unknown>> = {}): (stanza: Element) => boolean {
  return (stanza) => {
    if (!isPush(stanza)) return false;
    const [item] = itemsIn(stanza);
    return (
      item?.jid === contact &&
      Object.entries(shown).every(
        ([key, value]) => JSON.stringify(item[key as keyof ShownItem]) === JSON.stringify(value),
      )
    );
  };
}

export function isPresence(from: string, type?: string): (stanza: Element) => boolean {
  return ({ name, attrs }) => name === 'presence' && attrs['from'] === from && attrs['type'] === type;
}
