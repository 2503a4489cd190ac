/**
 * What is published when something has changed, and the tick that proves freshness. Invalidating too much is always
 * right: what cannot be read, names nothing, names several things or a JID without normal form counts as everything.
 */
import { z } from 'zod';
import type { Change } from '../changes.ts';
import { decodePayload, encodePayload } from './codec.ts';
import { encodingOf } from './encoding.ts';
import { jidText, optional } from './fields.ts';
import { InvalidJid, parseBareJid } from './jid.ts';
import { operationNames } from './operation.ts';

const changed = { v: z.literal(1), reason: optional(z.string()).meta({ description: 'for people who look on' }) };

/** What whoever changes something should publish; exactly one scope. What is not like it is read as `all` below. */
export const changeMessage = z.xor([
  z.object({ ...changed, user: jidText('a bare JID: decisions in which it stands on either side, and its roster') }),
  z.object({ ...changed, room: jidText('a bare JID: decisions about this room') }),
  z.object({ ...changed, domain: jidText('a domain: decisions in which a JID of it stands') }),
  z.object({ ...changed, operation: z.enum(operationNames).meta({ description: 'all decisions of this operation' }) }),
  z.object({ ...changed, all: z.literal(true).meta({ description: 'every decision' }) }),
]);

/** What workers publish to prove freshness. It changes nothing. */
export const tickMessage = z.object({
  v: z.literal(1),
  tick: z.string().meta({ description: "the worker's id" }),
});

/** `undefined` for a tick. */
export function decodeInvalidation(bytes: Uint8Array): Change | undefined {
  let payload: Record<string, unknown>;
  try {
    payload = decodePayload(bytes, encodingOf(bytes));
  } catch {
    return { all: true };
  }
  const scopes = ['user', 'room', 'domain', 'operation', 'all', 'tick'].filter(
    (key) => (payload[key] ?? false) !== false,
  );
  const [scope] = scopes;
  if (payload['v'] !== 1 || scope === undefined || scopes.length > 1) return { all: true };
  if (scope === 'tick') return undefined;
  return changeOf(scope, payload[scope]) ?? { all: true };
}

function changeOf(scope: string, value: unknown): Change | undefined {
  if (typeof value !== 'string') return undefined;
  if (scope === 'operation') {
    const operation = operationNames.find((name) => name === value);
    return operation === undefined ? undefined : { operation };
  }
  try {
    const jid = parseBareJid(value);
    if (scope === 'user') return { user: jid.bare };
    if (scope === 'room') return { room: jid.bare };
    return jid.node === '' ? { domain: jid.domain } : undefined;
  } catch (error) {
    if (error instanceof InvalidJid) return undefined;
    throw error;
  }
}

export function encodeChange(change: Change, reason: string): Uint8Array {
  return encodePayload({ v: 1, ...change, reason }, 'json');
}

export function encodeTick(worker: string): Uint8Array {
  return encodePayload({ v: 1, tick: worker }, 'json');
}
