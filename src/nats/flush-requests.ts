/**
 * `<prefix>.ctl.flush`: one worker publishes a change for who may not do so himself, and answers with its number. Hooks
 * may not publish changes, since whoever can may clear everything everywhere, again and again.
 */
import type { Msg, NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { Change } from '../changes.ts';
import { asFailure, Failure, failures } from '../failures.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import { readFlush } from '../wire/flush.ts';
import { isInbox, queueGroup } from './subjects.ts';

/** How long a change may wait for its acknowledgement. Who asks should wait a little longer. */
const publishTimeoutMs = 5_000;
/** Above that somebody sends faster than the stream takes. */
const maxInFlight = 1_000;

export function flushSubject(prefix: string): string {
  return `${prefix}.ctl.flush`;
}

export interface FlushRequestsOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly log: Logger;
  /** Resolves to the number of the change; 0 without JetStream. */
  readonly publish: (change: Change, reason: string, signal: AbortSignal) => Promise<number>;
}

/** Answers until stopped; what was asked before is still answered then. */
export function startFlushRequests({ nats, prefix, log, publish }: FlushRequestsOptions): { stop(): void } {
  let inFlight = 0;
  const answer = async (message: Msg, inbox: string) => {
    const encoding = encodingOf(message.data);
    const reply = (payload: object) => {
      if (!nats.isClosed() && !nats.isDraining()) nats.publish(inbox, encodePayload(payload, encoding));
    };
    try {
      const change = readFlush(decodePayload(message.data, encoding));
      if (inFlight >= maxInFlight) throw new Failure('overloaded', `${maxInFlight} changes wait for their numbers`);
      inFlight += 1;
      try {
        reply({ v: 1, seq: await published(change) });
      } finally {
        inFlight -= 1;
      }
    } catch (error) {
      const { kind, message: detail } = asFailure(error);
      log.debug({ kind, detail }, 'flush failed');
      reply({ v: 1, failure: kind, text: failures[kind].text });
    }
  };
  const published = async (change: Change): Promise<number> => {
    const signal = AbortSignal.timeout(publishTimeoutMs);
    try {
      return await publish(change, 'ctl.flush', signal);
    } catch (error) {
      throw new Failure('expired', 'the stream has not acknowledged the change', { cause: error });
    }
  };
  const subscription = nats.subscribe(flushSubject(prefix), {
    queue: queueGroup,
    callback: (error, message) => {
      if (error === null && isInbox(message.reply)) void answer(message, message.reply);
    },
  });
  return {
    stop: () => {
      if (!nats.isClosed()) subscription.unsubscribe();
    },
  };
}
