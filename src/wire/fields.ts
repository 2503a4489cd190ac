/** The field types that requests and replies share. Keys keep their names from the wire, so that one word is one idea. */
import { z } from 'zod';
import { InvalidJid, parseBareJid, parseJid } from './jid.ts';
import type { Jid } from './jid.ts';

/** A string that becomes a JID in its normal form; what has none is an issue on the field. */
function jidBy(parse: (text: string) => Jid, description: string) {
  return z
    .string()
    .max(3072)
    .transform((text, context): Jid => {
      try {
        return parse(text);
      } catch (error) {
        if (!(error instanceof InvalidJid)) throw error;
        context.issues.push({ code: 'custom', message: error.message, input: text });
        return z.NEVER;
      }
    })
    .meta({ description });
}

function parseFullJid(text: string): Jid {
  const jid = parseJid(text);
  if (jid.resource === '') throw new InvalidJid('a full JID is needed, with a resource: user@domain/resource');
  return jid;
}

export const anyJid = jidBy(parseJid, 'a JID, bare or full');
export const bareJid = jidBy(parseBareJid, 'a bare JID');
export const fullJid = jidBy(parseFullJid, 'a full JID');

/** Absent and nil mean the same: encoders without a word for "absent" write nil. */
export function optional<T extends z.ZodType>(field: T) {
  return field.nullish().transform((value) => value ?? undefined);
}

export function withDefault<T extends z.ZodType>(field: T, value: z.output<T>) {
  return field.nullish().transform((given) => (given ?? value) as z.output<T>);
}

/** Sequences and times: whole, from 0 up; exact in a float64. */
export const wholeNumber = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
