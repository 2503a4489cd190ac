// Owns JSON: one object to and from bytes. It knows nothing about what the keys mean.
import { isAscii, isUtf8 } from 'node:buffer';
import { countKeys, maxDepth } from './keys.ts';
import { MalformedPayload } from './malformed.ts';

export function encodeJson(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/**
 * Decodes one JSON object.
 * @throws {MalformedPayload} for anything else, for invalid UTF-8, half a surrogate pair, and duplicate keys.
 */
export function decodeJson(bytes: Uint8Array): Record<string, unknown> {
  const ascii = isAscii(bytes);
  if (!ascii && !isUtf8(bytes)) throw new MalformedPayload('invalid UTF-8');
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString(ascii ? 'latin1' : 'utf8');
  const keys = checkStructure(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MalformedPayload('not JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MalformedPayload('not an object');
  if (countKeys(value) !== keys) throw new MalformedPayload('an object has a key twice');
  // Half a pair cannot be written in UTF-8: it would leave as another string than it came, perhaps as another JID.
  if (/\\u[dD][89a-fA-F]/.test(text) && !isWellFormed(value)) throw new MalformedPayload('half a surrogate pair');
  return value as Record<string, unknown>;
}

/**
 * Looks at what stands outside of strings, before JSON.parse, which takes seconds for a few million brackets.
 * @returns the number of colons, which in JSON is the number of keys
 */
function checkStructure(text: string): number {
  let colons = 0;
  let depth = 0;
  let at = 0;
  for (;;) {
    const quote = text.indexOf('"', at);
    const end = quote === -1 ? text.length : quote;
    for (; at < end; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 0x3a) colons += 1;
      else if (code === 0x7b || code === 0x5b) {
        depth += 1;
        if (depth > maxDepth) throw new MalformedPayload(`nested more than ${maxDepth} deep`);
      } else if (code === 0x7d || code === 0x5d) depth -= 1;
    }
    if (quote === -1) return colons;
    at = endOfString(text, quote + 1);
  }
}

function endOfString(text: string, from: number): number {
  let quote = text.indexOf('"', from);
  while (quote !== -1) {
    let before = quote - 1;
    while (text.charCodeAt(before) === 0x5c) before -= 1;
    if ((quote - before) % 2 === 1) return quote + 1;
    quote = text.indexOf('"', quote + 1);
  }
  throw new MalformedPayload('not JSON');
}

function isWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return !/\p{Surrogate}/u.test(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, item]) => isWellFormed(key) && isWellFormed(item));
}
