/** One request to the running workers, as a hook would send it, and everything that can become of it. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { ErrorCode, NatsError } from 'nats';
import type { Config } from '../config/schema.ts';
import { Failure } from '../failures.ts';
import { requestSubject } from '../nats/subjects.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import type { Operation } from '../wire/operation.ts';
import { failureReply } from '../wire/replies.ts';
import { connectOnce, followConnection, refusals } from './connect-once.ts';
import type { Trouble } from './connect-once.ts';

export type Outcome = ({ reply: Record<string, unknown> } | Trouble) & { readonly tookMs: number };

export interface Asker {
  ask(operation: Operation, question: object, budgetMs: number): Promise<Outcome>;
  close(): Promise<void>;
}

export async function openAsker(nats: Config['nats']): Promise<Asker | Trouble> {
  const connection = await connectOnce(nats);
  if ('trouble' in connection) return connection;
  let refusal: string | undefined;
  void followConnection(connection, { refused: (detail) => (refusal = detail) });
  const ask = async (operation: Operation, question: object, budgetMs: number): Promise<Outcome> => {
    const id = randomBytes(12).toString('base64url');
    const request = { v: 1, id, server: `warder-cli@${hostname()}`, budget_ms: budgetMs, ...question };
    const began = performance.now();
    const tookMs = () => performance.now() - began;
    try {
      const subject = requestSubject(nats.subject_prefix, operation);
      const { data } = await connection.request(subject, encodePayload(request, 'messagepack'), { timeout: budgetMs });
      return { ...read(data, id), tookMs: tookMs() };
    } catch (error) {
      const trouble = refusal === undefined ? troubleOfAsking(error) : { trouble: 'refused' as const, detail: refusal };
      return { ...trouble, tookMs: tookMs() };
    }
  };
  return { ask, close: () => connection.close() };
}

function read(bytes: Uint8Array, id: string): { reply: Record<string, unknown> } | Trouble {
  let reply: Record<string, unknown>;
  try {
    reply = decodePayload(bytes, encodingOf(bytes));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { trouble: 'bad-reply', detail: error.message };
  }
  if (reply['v'] !== 1) return { trouble: 'bad-reply', detail: `its v is ${JSON.stringify(reply['v'])} instead of 1` };
  if (reply['id'] !== id) return { trouble: 'bad-reply', detail: 'it repeats another id than that of the request' };
  if (!('failure' in reply)) return { reply };
  const failed = failureReply.safeParse(reply);
  return failed.success
    ? { trouble: 'failure', failure: failed.data.failure, detail: failed.data.text }
    : { trouble: 'bad-reply', detail: `it names a failure that is unknown here: ${JSON.stringify(reply['failure'])}` };
}

const askingTroubles: Readonly<Record<string, 'no-workers' | 'timeout'>> = {
  [ErrorCode.NoResponders]: 'no-workers',
  [ErrorCode.Timeout]: 'timeout',
};

function troubleOfAsking(error: unknown): Trouble {
  if (!(error instanceof NatsError)) throw error;
  const usual = refusals.includes(error.code) ? 'refused' : 'unreachable';
  return { trouble: askingTroubles[error.code] ?? usual, detail: error.message };
}
