/**
 * What the tests of the hooks' near caches begin with: a broker, the operator's web service, a worker and XMPP servers, and
 * an observer on the broker who sees every question that leaves them and what they say they have seen.
 */
import { tmpdir } from 'node:os';
import { connect, headers } from 'nats';
import { readAnnouncement } from '../../src/nats/members.ts';
import { startApplication } from './application.ts';
import type { Application } from './application.ts';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import type { Ran } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer, NatsServerOptions } from './nats-server.ts';
import type { ServerKind } from './server-kind.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';
import { errorOf, message } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';
import type { ServerOptions, XmppServer } from './xmpp-server.ts';

export interface NearCacheScene {
  readonly broker: NatsServer;
  readonly application: Application;
  readonly worker: WorkerProcess;
  /** The first server. */
  readonly server: XmppServer;
  readonly servers: readonly XmppServer[];
  /** How many questions have left the servers. */
  asked(): Promise<number>;
  /** The numbers of the first server's near cache. */
  stats(): Promise<Readonly<Record<string, number>>>;
  /** What a server last said it has seen. */
  readonly seen: number;
  untilSeen(sequence: number): Promise<void>;
  publish(
    subject: string,
    payload: string,
    headers?: readonly (readonly [name: string, value: string])[],
  ): Promise<void>;
  deleteStream(name: string): Promise<void>;
  /** The command line, at this broker. */
  warder(...args: string[]): Promise<Ran>;
  /** Repeats until a round costs no question. */
  untilRemembered(round: () => Promise<unknown>): Promise<void>;
  stop(): Promise<void>;
}

export interface NearCacheSceneOptions extends Omit<ServerOptions, 'natsUrl'> {
  readonly nats?: NatsServerOptions;
  readonly prefix?: string;
  /** How many workers there are; default one. */
  readonly workers?: number;
  /** More of the worker's configuration of `stanza-check`. */
  readonly stanzaCheck?: Readonly<Record<string, unknown>>;
}

/** @param kinds of the servers, each with the same options */
export async function startNearCacheScene(
  kinds: readonly [ServerKind, ...ServerKind[]],
  given: NearCacheSceneOptions = {},
): Promise<NearCacheScene> {
  const {
    nats: brokerOptions = { jetstream: true },
    prefix = 'xmpp.policy.v1',
    stanzaCheck = {},
    workers = 1,
    ...more
  } = given;
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const main = await builtMain();
    const broker = await startNatsServer(brokerOptions);
    stops.push(() => broker.stop());
    const observer = await connect({ servers: broker.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
    stops.push(() => observer.close());
    let asked = 0;
    let seen = 0;
    const watchers = new Set<() => void>();
    for (const operation of ['stanza-check', 'join-check', 'session-check']) {
      observer.subscribe(`${prefix}.${operation}`, { callback: () => (asked += 1) });
    }
    observer.subscribe(`${prefix}.ctl.seen`, {
      callback: (_error, { data }) => {
        const said = readAnnouncement(data);
        if (said?.kind === 'hook') seen = said.seen;
        for (const watcher of watchers) watcher();
      },
    });
    const application = await startApplication();
    stops.push(() => application.stop());
    const config = {
      nats: { subject_prefix: prefix },
      sources: { app: { type: 'http', url: `${application.url}/`, breaker: { failures: 1_000 } } },
      operations: { 'stanza-check': { sources: 'app', ...stanzaCheck }, 'join-check': { sources: 'app' } },
    };
    const startWorker = async (): Promise<WorkerProcess> => {
      const started = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
      stops.push(() => started.stop());
      return started;
    };
    const worker = await startWorker();
    for (let further = 1; further < workers; further += 1) await startWorker();
    const servers: XmppServer[] = [];
    for (const kind of kinds) {
      const server = await kind.start({
        natsUrl: broker.url,
        ...more,
        policy: { subjectPrefix: prefix, checks: ['stanza-check', 'join-check'], ...more.policy },
      });
      stops.push(() => server.stop());
      await server.waitForOutput(/Connected to NATS/);
      servers.push(server);
    }
    const [server] = servers as [XmppServer];

    // A round trip: the broker has sent to the observer what came before.
    const count = async (): Promise<number> => {
      await observer.flush();
      return asked;
    };
    return {
      broker,
      application,
      worker,
      server,
      servers,
      asked: count,
      stats: () => kinds[0].nearCacheStats(server),
      get seen() {
        return seen;
      },
      untilSeen: (sequence) =>
        new Promise((resolve) => {
          const look = (): void => {
            if (seen < sequence) return;
            watchers.delete(look);
            resolve();
          };
          watchers.add(look);
          look();
        }),
      publish: async (subject, payload, forged = []) => {
        const added = headers();
        for (const [name, value] of forged) added.append(name, value);
        observer.publish(`${prefix}.${subject}`, payload, { headers: added });
        await observer.flush();
      },
      deleteStream: async (name) => void (await (await observer.jetstreamManager()).streams.delete(name)),
      warder: (...args) =>
        run(process.execPath, [main, ...args], {
          cwd: tmpdir(),
          env: { WARDER_NATS_URL: broker.url, WARDER_SUBJECT_PREFIX: prefix },
        }),
      untilRemembered: async (round) => {
        for (;;) {
          const before = await count();
          await round();
          if ((await count()) === before) return;
        }
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

let messages = 0;

/** Sends one message. @returns what its sender was told, or undefined when it arrived */
export async function send(
  from: TestClient,
  to: TestClient,
): Promise<{ type?: string; condition?: string; text?: string } | undefined> {
  const stanza = message(to.bare, `message ${(messages += 1)}`);
  const { id } = stanza.attrs;
  await from.send(stanza);
  // What the server answers to the message comes before what it answers to what was sent behind it.
  await from.settle();
  const refused = from.inbox.find(({ attrs }) => attrs['type'] === 'error' && attrs['id'] === id);
  if (refused !== undefined) return errorOf(refused);
  await to.take('the message', ({ name, attrs }) => name === 'message' && attrs['id'] === id);
  return undefined;
}
