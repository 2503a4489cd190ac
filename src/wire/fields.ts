/** The field types that requests and replies share. Keys keep their names from the wire, so that one word is one idea. */
import { z } from 'zod';

/** In UTF-16 units: three parts of at most 1023 bytes (RFC 6122 section 2.1), and what is between them. */
export const maxJidLength = 3072;

/** A string of a JID's size. Whether it is one is found when it is parsed, see `requests.ts`. */
export function jidText(description: string) {
  return z.string().max(maxJidLength).meta({ description });
}

/** Absent and nil mean the same: encoders without a word for "absent" write nil. */
export function optional<T extends z.ZodType>(field: T) {
  const absent = field.nullish().transform((value) => value ?? undefined);
  // Once more, so that the key itself may be absent in what comes out.
  return absent.optional();
}

/** Sequences and times: whole, from 0 up; exact in a float64. */
export const wholeNumber = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
