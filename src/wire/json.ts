// Owns JSON: one object to and from bytes. It knows nothing about what the keys mean.
import { isUtf8 } from 'node:buffer';
import { countKeys } from './keys.ts';
import { MalformedPayload } from './malformed.ts';

export function encodeJson(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/**
 * Decodes one JSON object.
 * @throws {MalformedPayload} for anything else, for invalid UTF-8, half a surrogate pair, and duplicate keys.
 */
export function decodeJson(bytes: Uint8Array): Record<string, unknown> {
  if (!isUtf8(bytes)) throw new MalformedPayload('invalid UTF-8');
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MalformedPayload('not JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MalformedPayload('not an object');
  if (countKeys(value) !== countColons(text)) throw new MalformedPayload('an object has a key twice');
  // Half a pair cannot be written in UTF-8: it would leave as another string than it came, perhaps as another JID.
  if (/\\u[dD][89a-fA-F]/.test(text) && !isWellFormed(value)) throw new MalformedPayload('half a surrogate pair');
  return value as Record<string, unknown>;
}

/** One colon outside of strings for each key that is written. The text is known to be JSON. */
function countColons(text: string): number {
  let count = 0;
  let at = 0;
  for (;;) {
    const quote = text.indexOf('"', at);
    const end = quote === -1 ? text.length : quote;
    for (; at < end; at += 1) if (text.charCodeAt(at) === 0x3a) count += 1;
    if (quote === -1) return count;
    at = endOfString(text, quote + 1);
  }
}

function endOfString(text: string, from: number): number {
  for (let quote = text.indexOf('"', from); ; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text[quote - 1 - slashes] === '\\') slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
  }
}

function isWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return !/\p{Surrogate}/u.test(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, item]) => isWellFormed(key) && isWellFormed(item));
}
