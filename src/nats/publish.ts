/** One message into the stream of changes, and its number. */
import type { JetStreamClient, NatsConnection } from 'nats';
import type { Change } from '../changes.ts';
import { encodeChange } from '../wire/invalidation.ts';
import { invalidateSubject, lowestSequence, streamName } from './stream.ts';

/** How long one publication waits for its acknowledgement before it is repeated. */
const acknowledgeMs = 1_000;
const repeatAfterMs = 100;

/**
 * Publishes once.
 * @returns the number that the stream gave it
 * @throws what nats.js throws when nothing was acknowledged; an acknowledgement of a duplicate, or with a number below
 *   10^12, is none
 */
export async function publishNumbered(
  jetstream: JetStreamClient,
  prefix: string,
  payload: Uint8Array,
  timeoutMs: number,
): Promise<number> {
  const { seq, duplicate } = await jetstream.publish(invalidateSubject(prefix), payload, {
    timeout: timeoutMs,
    expect: { streamName: streamName(prefix) },
  });
  if (duplicate) throw new Error('acknowledged as a duplicate');
  // Taken between the making of a stream and its first number: everyone has seen far higher ones, and would not wait.
  if (seq < lowestSequence)
    throw new Error(`acknowledged as ${seq} by a stream that is not numbered from the time yet`);
  return seq;
}

/**
 * Publishes a change again and again until the stream has acknowledged it.
 * @param failed called after each attempt that failed
 * @throws when the signal is aborted or the connection is closed for good
 */
export async function publishUntilAcknowledged(
  nats: NatsConnection,
  prefix: string,
  change: Change,
  reason: string,
  signal: AbortSignal | undefined,
  failed: (error: unknown) => void,
): Promise<number> {
  const jetstream = nats.jetstream();
  const payload = encodeChange(change, reason);
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await publishNumbered(jetstream, prefix, payload, acknowledgeMs);
    } catch (error) {
      if (nats.isClosed()) throw error;
      failed(error);
      await new Promise((resolve) => setTimeout(resolve, repeatAfterMs));
    }
  }
}

/** Publishes a change where there is no JetStream to number it: best effort. */
export async function publishUnnumbered(nats: NatsConnection, prefix: string, change: Change, reason: string) {
  nats.publish(invalidateSubject(prefix), encodeChange(change, reason));
  // The broker hands it to the subscriptions of this connection too before it answers the ping.
  await nats.flush();
}
