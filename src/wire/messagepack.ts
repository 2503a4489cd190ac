// Owns MessagePack: one map with string keys to and from bytes. It knows nothing about what the keys mean.
import { isUtf8 } from 'node:buffer';
import { Packr } from 'msgpackr';
import { countKeys, maxDepth } from './keys.ts';
import { MalformedPayload } from './malformed.ts';

const packr = new Packr({
  useRecords: false,
  encodeUndefinedAsNil: true,
  int64AsType: 'number',
  variableMapSize: true,
});

/**
 * Encodes a map without extension types. The bytes are the caller's to keep: msgpackr hands out slices of a buffer
 * that it fills further and never rewrites.
 */
export function encodeMessagePack(value: object): Uint8Array {
  return packr.pack(value);
}

/**
 * Decodes one map with string keys. 64-bit integers come as numbers, binary data as Buffers.
 * @throws {MalformedPayload} for anything else, for extension types, duplicate keys, invalid UTF-8, and bytes left over.
 */
export function decodeMessagePack(bytes: Uint8Array): Record<string, unknown> {
  const keys = checkStructure(bytes);
  let value: Record<string, unknown>;
  try {
    value = packr.unpack(bytes) as Record<string, unknown>;
  } catch (error) {
    throw new MalformedPayload('not MessagePack', { cause: error });
  }
  if (keys !== (nested ? countKeys(value) : Object.keys(value).length))
    throw new MalformedPayload('a map has a key twice');
  return value;
}

// What the walk below remembers, outside of it because decoding is synchronous and must not allocate.
/** How many items each open map or array still wants; for a map keys and values both count. */
const wanted = new Float64Array(maxDepth + 1);
const isMap = new Uint8Array(maxDepth + 1);
/** Whether the last payload held a map or array inside the outermost map. */
let nested = false;

/**
 * Walks the types without building anything, so that msgpackr sees only what it decodes faithfully: it would otherwise
 * make Dates, Sets and Errors of extensions, names of numeric keys, and arrays of any declared length.
 * @returns the number of keys in all maps
 */
function checkStructure(bytes: Uint8Array): number {
  const end = bytes.length;
  const first = bytes[0] ?? 0;
  if ((first < 0x80 || first > 0x8f) && first !== 0xde && first !== 0xdf) throw new MalformedPayload('not a map');
  nested = false;
  let at = 0;
  let depth = 0;
  let left = 1;
  let inMap = false;
  let keys = 0;
  for (;;) {
    while (left === 0) {
      if (depth === 0) {
        if (at !== end) throw new MalformedPayload('bytes after the map');
        return keys;
      }
      depth -= 1;
      left = wanted[depth] ?? 0;
      inMap = isMap[depth] === 1;
    }
    if (at >= end) throw truncated();
    const isKey = inMap && left % 2 === 0;
    left -= 1;
    const type = bytes[at] ?? 0;
    at += 1;
    if ((type >= 0xa0 && type <= 0xbf) || (type >= 0xd9 && type <= 0xdb)) {
      const width = type <= 0xbf ? 0 : type === 0xd9 ? 1 : type === 0xda ? 2 : 4;
      const length = width === 0 ? type - 0xa0 : readUint(bytes, at, width);
      at += width;
      if (length > end - at) throw truncated();
      if (isKey) {
        keys += 1;
        if (length === 9 && isProto(bytes, at)) throw new MalformedPayload('a key is __proto__');
      }
      checkUtf8(bytes, at, at + length);
      at += length;
      continue;
    }
    if (isKey) throw new MalformedPayload('a key is not a string');
    if (type <= 0x7f || type >= 0xe0 || type === 0xc0 || type === 0xc2 || type === 0xc3) continue;
    if (type <= 0x9f || type >= 0xdc) {
      const width = type <= 0x9f ? 0 : type === 0xdc || type === 0xde ? 2 : 4;
      const count = width === 0 ? type % 16 : readUint(bytes, at, width);
      at += width;
      wanted[depth] = left;
      isMap[depth] = inMap ? 1 : 0;
      if (depth > 0) nested = true;
      depth += 1;
      if (depth > maxDepth) throw new MalformedPayload(`nested more than ${maxDepth} deep`);
      inMap = type <= 0x8f || type >= 0xde;
      left = inMap ? count * 2 : count;
      // Each item is a byte at least. This is where a declared length of 2^32 ends.
      if (left > end - at) throw truncated();
      continue;
    }
    if (type >= 0xc4 && type <= 0xc6) {
      const width = type === 0xc4 ? 1 : type === 0xc5 ? 2 : 4;
      at += width + readUint(bytes, at, width);
    } else if (type >= 0xca && type <= 0xd3) at += fixedWidths[type - 0xca] ?? 0;
    else throw new MalformedPayload(type === 0xc1 ? 'not MessagePack' : 'extension types are not allowed');
    if (at > end) throw truncated();
  }
}

/** Bytes after the types 0xca to 0xd3: float 32 and 64, uint 8 to 64, int 8 to 64. */
const fixedWidths = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8];

function truncated(): MalformedPayload {
  return new MalformedPayload('truncated');
}

function readUint(bytes: Uint8Array, at: number, width: number): number {
  if (width > bytes.length - at) throw truncated();
  let value = 0;
  for (let i = at; i < at + width; i += 1) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

/** The native check costs as much as looking at 60 bytes here; almost all short strings are ASCII. */
function checkUtf8(bytes: Uint8Array, from: number, to: number): void {
  let i = from;
  if (to - from < 64) {
    while (i < to && (bytes[i] ?? 0) < 0x80) i += 1;
    if (i === to) return;
  }
  if (!isUtf8(bytes.subarray(i, to))) throw new MalformedPayload('invalid UTF-8');
}

/** msgpackr renames this key, silently and perhaps onto another. */
function isProto(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < 9; i += 1) if (bytes[at + i] !== '__proto__'.charCodeAt(i)) return false;
  return true;
}
