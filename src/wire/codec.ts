/** Payload bytes to typed requests and replies to payload bytes, in the encoding that the asker chose. */
import type { z } from 'zod';
import { Failure, failures } from '../failures.ts';
import type { FailureKind } from '../failures.ts';
import type { Encoding } from './encoding.ts';
import { decodeJson, encodeJson } from './json.ts';
import { InvalidJid, MalformedPayload } from './malformed.ts';
import { decodeMessagePack, encodeMessagePack } from './messagepack.ts';
import type { FailureReply, Reply } from './replies.ts';
import type { Envelope, RequestForm } from './requests.ts';

/**
 * Validates a decoded request and puts it into its normal form.
 * @throws Failure `bad-request`, with what was wrong as detail for the log.
 */
export function decodeRequest<Request extends Envelope>(
  form: RequestForm<z.ZodType, Request>,
  payload: Record<string, unknown>,
): Request {
  try {
    return form.read(form.accepts?.(payload) === true ? payload : validate(form.fields, payload));
  } catch (error) {
    if (error instanceof InvalidJid) throw new Failure('bad-request', error.message);
    throw error;
  }
}

function validate<Fields extends z.ZodType>(fields: Fields, payload: Record<string, unknown>): z.output<Fields> {
  const parsed = fields.safeParse(payload);
  if (parsed.success) return parsed.data;
  const detail = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
  throw new Failure('bad-request', detail.slice(0, 1_000));
}

/**
 * Decodes a payload to a map of whatever it holds.
 * @throws Failure `bad-request` when it is not one MessagePack map or one JSON object.
 */
export function decodePayload(bytes: Uint8Array, encoding: Encoding): Record<string, unknown> {
  try {
    return encoding === 'json' ? decodeJson(bytes) : decodeMessagePack(bytes);
  } catch (error) {
    if (error instanceof MalformedPayload) throw new Failure('bad-request', error.message);
    throw error;
  }
}

export function encodePayload(payload: Reply | FailureReply | object, encoding: Encoding): Uint8Array {
  return encoding === 'json' ? encodeJson(payload) : encodeMessagePack(payload);
}

/** A failure as it goes out: the fixed text of its kind, never the detail. */
export function failureReplyOf(kind: FailureKind, id: string): FailureReply {
  return { v: 1, id, failure: kind, text: failures[kind].text };
}
