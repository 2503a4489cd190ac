/** Workers before an application that owns rosters, and whoever refreshes them: over HTTP, or over NATS as a hook would. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { RosterApplication } from './roster-application.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

export interface Refreshed {
  readonly status: string;
  readonly message: string;
  readonly updated: number;
  readonly errors: number;
  readonly failed?: Readonly<Record<string, string>>;
}

export interface RosterAnswer extends Refreshed {
  readonly seq: number;
  readonly rosters: Readonly<Record<string, { items: readonly { jid: string; name?: string }[] }>>;
  readonly again_ms?: number;
}

export interface RefreshScene {
  readonly broker: NatsServer;
  readonly application: RosterApplication;
  readonly workers: readonly WorkerProcess[];
  readonly nats: NatsConnection;
  /** `POST /roster_admin/refresh` on the first worker. */
  push(users: readonly string[]): Promise<Refreshed>;
  /** `roster-refresh` over NATS. */
  ask(users: readonly string[], reason: string, minSeq?: number, budgetMs?: number): Promise<RosterAnswer>;
  /** The number under which the next change of this user is republished. */
  nextChangeOf(user: string): Promise<number>;
  stop(): Promise<void>;
}

export interface SceneOptions {
  readonly jetstream?: boolean;
  readonly workers?: number;
  /** Options of the source, in YAML's flow style, with a comma behind each. */
  readonly source?: string;
}

let questions = 0;

export async function startRefreshScene(options: SceneOptions = {}): Promise<RefreshScene> {
  const { jetstream = true, workers: count = 1, source = '' } = options;
  const broker = await startNatsServer({ jetstream });
  const application = await RosterApplication.start();
  const config = `
roster: { default_host: localhost }
operations:
  roster-refresh: { sources: contacts }
cache: { max_rosters: 20000 }
sources:
  contacts: { type: roster-http, ${source} url: "${application.url}/{jid}" }
`;
  const workers = await Promise.all(Array.from({ length: count }, () => startWorkerProcess(broker.url, config)));
  const nats = await connect({ servers: broker.url, waitOnFirstConnect: true });
  return {
    broker,
    application,
    workers,
    nats,
    push: async (users) => {
      const response = await fetch(`${workers[0]?.url ?? ''}/roster_admin/refresh`, {
        method: 'POST',
        body: JSON.stringify(users),
      });
      if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
      return (await response.json()) as Refreshed;
    },
    ask: async (users, reason, minSeq = 0, budgetMs = 20_000) => {
      questions += 1;
      const question = {
        v: 1,
        id: `q${questions}`,
        server: 'test',
        budget_ms: budgetMs,
        min_seq: minSeq,
        users,
        reason,
      };
      const { data } = await nats.request('xmpp.policy.v1.roster-refresh', encodeMessagePack(question), {
        timeout: budgetMs,
      });
      return decodeMessagePack(data) as unknown as RosterAnswer;
    },
    nextChangeOf: (user) =>
      new Promise((resolve) => {
        const listening = nats.subscribe('xmpp.policy.v1.invalidated', {
          callback: (_error, message) => {
            if (message.json<{ user?: string }>().user !== user) return;
            listening.unsubscribe();
            resolve(Number(message.headers?.values('Nats-Sequence').at(-1)));
          },
        });
      }),
    stop: async () => {
      await nats.close();
      await Promise.all(workers.map((worker) => worker.stop()));
      await application.stop();
      await broker.stop();
    },
  };
}
