// Owns what a decoder does not tell: whether the maps that it built lost a key, or are too deep to walk.
import { MalformedPayload } from './malformed.ts';

/** Deeper than any payload of the protocol; shallow enough that whoever walks a payload cannot run out of stack. */
export const maxDepth = 32;

/**
 * Counts the keys of all maps in a decoded value. Fewer than the payload declared means that one came twice.
 * @throws {MalformedPayload} for more than 32 levels, and for the key `__proto__`, which no part of the protocol has.
 */
export function countKeys(value: unknown, depth = 0): number {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0;
  if (depth >= maxDepth) throw new MalformedPayload(`nested more than ${maxDepth} deep`);
  let count = 0;
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === 'object') count += countKeys(item, depth + 1);
    return count;
  }
  const map = value as Record<string, unknown>;
  // Not Object.entries: this is done for every payload with a map inside, and costs a tenth.
  for (const key in map) {
    if (key === '__proto__') throw new MalformedPayload('a key is __proto__');
    const item = map[key];
    count += 1;
    if (typeof item === 'object') count += countKeys(item, depth + 1);
  }
  return count;
}
