/** Option values that are wrong are found before anything is asked, each with what would be right. */
import { isIP } from 'node:net';
import { InvalidArgumentError } from 'commander';
import type { z } from 'zod';
import { InvalidJid, parseJid } from '../wire/jid.ts';
import type { Jid } from '../wire/jid.ts';

/** A text that a schema accepts, as it was given. */
export function bySchema(schema: z.ZodType) {
  return (text: string): string => {
    const parsed = schema.safeParse(text);
    if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues.map(({ message }) => message).join('; '));
    return text;
  };
}

/** Any JID: a user, a server, with or without a resource. */
export function anyJid(text: string): Jid {
  try {
    return parseJid(text);
  } catch (error) {
    if (error instanceof InvalidJid) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

/** A JID with a part before the @. */
export function userJid(text: string): Jid {
  const jid = anyJid(text);
  if (jid.node === '')
    throw new InvalidArgumentError('It has no user in it; write user@domain, such as alice@localhost.');
  return jid;
}

/** A JID of anybody, without a resource. */
export function bareJid(text: string): Jid {
  return withoutResource(anyJid(text));
}

export function bareUserJid(text: string): Jid {
  return withoutResource(userJid(text));
}

function withoutResource(jid: Jid): Jid {
  if (jid.resource !== '') throw new InvalidArgumentError(`It has a resource; write it as ${jid.bare}`);
  return jid;
}

export function roomJid(text: string): Jid {
  const jid = anyJid(text);
  if (jid.node === '')
    throw new InvalidArgumentError('It has no room in it; write room@domain, such as lobby@rooms.localhost.');
  if (jid.resource !== '') {
    throw new InvalidArgumentError(
      `It has a nick in it; write it as ${jid.bare} and the nick as --nick ${jid.resource}`,
    );
  }
  return jid;
}

export function ipAddress(text: string): string {
  if (isIP(text) === 0) throw new InvalidArgumentError('It must be an IP address, such as 192.0.2.7 or 2001:db8::7.');
  return text;
}

const maxMs = 600_000;

/** `250`, `250ms`, `2s`: to milliseconds. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s)?$/.exec(text.trim());
  if (match === null) throw new InvalidArgumentError('It must be milliseconds, or a time such as 250ms or 2s.');
  const ms = Number(match[1]) * (match[2] === 's' ? 1_000 : 1);
  if (ms <= 0 || ms > maxMs) throw new InvalidArgumentError(`It must be more than 0 and at most ${maxMs} ms.`);
  return ms;
}
