/** A change that somebody asks a worker to publish for him: what hooks send, that may not publish changes themselves. */
import { z } from 'zod';
import type { Change } from '../changes.ts';
import { Failure } from '../failures.ts';
import { jidText, wholeNumber } from './fields.ts';
import { InvalidJid, parseBareJid } from './jid.ts';
import { failureReply } from './replies.ts';

/** Exactly one scope, and none that clears more than one user or room: those need the credentials of whoever administers. */
export const flushRequest = z.xor([
  z.object({ v: z.literal(1), user: jidText('a bare JID') }),
  z.object({ v: z.literal(1), room: jidText('a bare JID') }),
]);

export const flushReply = z.object({
  v: z.literal(1),
  seq: wholeNumber.meta({ description: 'the number of the change; 0 where no stream numbers them' }),
});

export const flushFailure = failureReply.omit({ id: true });

const scopes = ['user', 'room', 'domain', 'operation', 'all'] as const;

/** @throws Failure `bad-request` */
export function readFlush(payload: Record<string, unknown>): Change {
  const given = scopes.filter((scope) => (payload[scope] ?? undefined) !== undefined);
  const [scope] = given;
  if (payload['v'] !== 1 || given.length !== 1 || (scope !== 'user' && scope !== 'room')) {
    throw new Failure(
      'bad-request',
      `v 1 and exactly one of user and room are wanted, not ${given.join(', ') || 'none'}`,
    );
  }
  const value = payload[scope];
  if (typeof value !== 'string') throw new Failure('bad-request', `${scope}: a bare JID is wanted`);
  try {
    const { bare } = parseBareJid(value);
    return scope === 'user' ? { user: bare } : { room: bare };
  } catch (error) {
    if (error instanceof InvalidJid) throw new Failure('bad-request', error.message);
    throw error;
  }
}
