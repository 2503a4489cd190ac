/**
 * Answers Warder's questions as a test tells it to, over real NATS: for what no worker ever does (rubbish, wrong ids,
 * silence) and for seeing what was asked.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import type { Msg } from 'nats';
import { operationNames } from '../../src/wire/operation.ts';
import type { Operation } from '../../src/wire/operation.ts';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';

export type Asked = Readonly<Record<string, unknown>> & { readonly operation: Operation };

/** Fields of a reply (`v`, `id`, `seq` and `age_ms` are added where they are absent), bytes to send as they are, or undefined: no answer. */
export type Answer = Readonly<Record<string, unknown>> | Uint8Array | undefined;

export interface Responder {
  /** Every question in the order in which it came. */
  readonly asked: readonly Asked[];
  /** The questions of one operation. */
  of(operation: Operation): readonly Asked[];
  /** From now on, what is answered to an operation. Default: allow, an empty roster, forgotten. */
  on(operation: Operation, answer: (asked: Asked) => Answer | Promise<Answer>): void;
  /** Back to the defaults, with nothing asked. */
  reset(): void;
  /** Resolves when so many questions of an operation have come. */
  untilAsked(operation: Operation, count?: number): Promise<void>;
  stop(): Promise<void>;
}

/** Against hangs only: a busy machine takes its time. */
const waitMs = 30_000;

export async function startResponder(natsUrl: string, prefix = 'xmpp.policy.v1'): Promise<Responder> {
  const nats = await connect({ servers: natsUrl, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const asked: Asked[] = [];
  const answers = new Map<Operation, (asked: Asked) => Answer | Promise<Answer>>();
  const watchers = new Set<() => void>();

  const answerTo = async (message: Msg): Promise<void> => {
    const operation = message.subject.slice(prefix.length + 1) as Operation;
    if (!operationNames.includes(operation)) return; // a change, which is no question
    const question: Asked = { ...decodeMessagePack(message.data), operation };
    asked.push(question);
    for (const watcher of watchers) watcher();
    const answer = await (answers.get(operation) ?? defaultAnswer)(question);
    if (answer === undefined) return;
    const envelope = { v: 1, id: question['id'], seq: 0, age_ms: 0 };
    message.respond(answer instanceof Uint8Array ? answer : encodeMessagePack({ ...envelope, ...answer }));
  };
  const subscription = nats.subscribe(`${prefix}.*`, { queue: 'warder' });
  const answering = (async () => {
    for await (const message of subscription) void answerTo(message);
  })();
  await nats.flush();

  const of = (operation: Operation): Asked[] => asked.filter((one) => one.operation === operation);
  return {
    asked,
    of,
    on: (operation, answer) => void answers.set(operation, answer),
    reset: () => {
      answers.clear();
      asked.length = 0;
    },
    untilAsked: (operation, count = 1) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (of(operation).length < count) return;
          clearTimeout(timer);
          watchers.delete(look);
          resolve();
        };
        const timer = setTimeout(() => {
          watchers.delete(look);
          reject(new Error(`${operation} was asked ${of(operation).length} times within ${waitMs} ms`));
        }, waitMs);
        watchers.add(look);
        look();
      }),
    stop: async () => {
      // The broker goes on sending to who has just closed, until it notices; so it is told first, if it is there to be told.
      subscription.unsubscribe();
      await Promise.race([nats.flush().catch(() => undefined), delay(1_000, undefined, { ref: false })]);
      await nats.close();
      await answering;
    },
  };
}

function defaultAnswer(asked: Asked): Answer {
  switch (asked.operation) {
    case 'roster-refresh': {
      const users = asked['users'] as string[];
      const rosters = Object.fromEntries(users.map((user) => [user, { version: '0', items: [], pending: [] }]));
      return { status: 'ok', message: '', updated: users.length, errors: 0, rosters, failed: {} };
    }
    case 'user-removed':
      return { forgotten: true };
    default:
      return { verdict: 'allow', ttl_ms: 0, scope: 'none' };
  }
}
