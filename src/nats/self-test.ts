/**
 * A worker asks itself, through the broker and the codec of the wire: an answer says that the connection carries messages
 * both ways and that the event loop reads them. Asked by an inbox of its own, which its permissions allow, since in the
 * queue group another worker could answer; no source is asked and nothing is counted.
 */
import { randomBytes } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { operations } from '../operations.ts';
import { decodePayload, decodeRequest, encodePayload } from '../wire/codec.ts';
import { isInbox } from './subjects.ts';

/** Shorter than the second that probes wait by default. */
const timeoutMs = 800;

export interface SelfTest {
  /** Whether this worker has answered itself just now. Asked by many at once it is one question. */
  passes(): Promise<boolean>;
  stop(): void;
}

/** @param inboxPrefix under which this connection may subscribe */
export function startSelfTest(nats: NatsConnection, inboxPrefix: string): SelfTest {
  const subject = `${inboxPrefix}.self`;
  const { form } = operations['stanza-check'];
  const subscription = nats.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null || !isInbox(message.reply)) return;
      try {
        const { id } = decodeRequest(form, decodePayload(message.data, 'messagepack'));
        nats.publish(message.reply, encodePayload({ v: 1, id }, 'messagepack'));
      } catch {
        // Not from here, or a fault that its silence shows.
      }
    },
  });

  async function ask(): Promise<boolean> {
    if (nats.isClosed() || nats.isDraining()) return false;
    const id = randomBytes(12).toString('hex');
    const self = 'self@warder.invalid';
    const question = { v: 1, id, server: 'self', budget_ms: timeoutMs, hook: 'send', from: self, to: self, kind: 'iq' };
    try {
      const { data } = await nats.request(subject, encodePayload(question, 'messagepack'), { timeout: timeoutMs });
      return decodePayload(data, 'messagepack')['id'] === id;
    } catch {
      return false;
    }
  }

  let asking: Promise<boolean> | undefined;
  return {
    passes: () =>
      (asking ??= ask().finally(() => {
        asking = undefined;
      })),
    stop: () => {
      if (!nats.isClosed()) subscription.unsubscribe();
    },
  };
}
