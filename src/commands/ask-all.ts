/** One question to every worker, and the answers of all who are there. */
import { ErrorCode, NatsError, RequestStrategy } from 'nats';
import type { NatsConnection } from 'nats';

/** A code of the client is text, as those of the broker are. */
const noResponders: string = ErrorCode.NoResponders;

/** Nobody has answered for so long: those who are there have. A worker answers within milliseconds. */
const quietMs = 250;
const longestMs = 2_000;

/** Their payloads as they came; none where nobody is there. */
export async function askAll(nats: NatsConnection, subject: string, payload = ''): Promise<Uint8Array[]> {
  const answers: Uint8Array[] = [];
  try {
    const replies = await nats.requestMany(subject, payload, {
      strategy: RequestStrategy.JitterTimer,
      jitter: quietMs,
      maxWait: longestMs,
    });
    for await (const { data } of replies) answers.push(data);
  } catch (error) {
    if (!(error instanceof NatsError) || error.code !== noResponders) throw error;
  }
  return answers;
}
