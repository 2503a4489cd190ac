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
  if (countKeys(value) !== keys) throw new MalformedPayload('a map has a key twice');
  return value;
}

/** How many items each open map or array still wants; even numbers are keys when it is a map. Reused: decoding is synchronous. */
const wanted = new Float64Array(maxDepth + 1);
const isMap = new Uint8Array(maxDepth + 1);

/**
 * Walks the types without building anything, so that msgpackr sees only what it decodes faithfully: it would otherwise
 * make Dates, Sets and Errors of extensions, numbers of keys, and allocate by a declared length.
 * Returns the number of keys in all maps.
 */
function checkStructure(bytes: Uint8Array): number {
  const end = bytes.length;
  if (end === 0) throw new MalformedPayload('empty');
  const first = bytes[0] ?? 0;
  if (!((first >= 0x80 && first <= 0x8f) || first === 0xde || first === 0xdf)) throw new MalformedPayload('not a map');
  let at = 0;
  let depth = 0;
  let keys = 0;
  wanted[0] = 1;
  isMap[0] = 0;
  for (;;) {
    while (wanted[depth] === 0) {
      if (depth === 0) {
        if (at !== end) throw new MalformedPayload('bytes after the map');
        return keys;
      }
      depth -= 1;
    }
    if (at >= end) throw new MalformedPayload('truncated');
    const left = wanted[depth] ?? 0;
    const isKey = isMap[depth] === 1 && left % 2 === 0;
    wanted[depth] = left - 1;
    const type = bytes[at] ?? 0;
    at += 1;
    let length = -1;
    if (type >= 0xa0 && type <= 0xbf) length = type - 0xa0;
    else if (type === 0xd9) {
      length = readUint(bytes, at, 1);
      at += 1;
    } else if (type === 0xda) {
      length = readUint(bytes, at, 2);
      at += 2;
    } else if (type === 0xdb) {
      length = readUint(bytes, at, 4);
      at += 4;
    }
    if (length >= 0) {
      if (isKey) {
        keys += 1;
        if (length === 9 && isProto(bytes, at)) throw new MalformedPayload('a key is __proto__');
      }
      if (length > end - at) throw new MalformedPayload('truncated');
      checkUtf8(bytes, at, at + length);
      at += length;
      continue;
    }
    if (isKey) throw new MalformedPayload('a key is not a string');
    if (type <= 0x7f || type >= 0xe0 || type === 0xc0 || type === 0xc2 || type === 0xc3) continue;
    if (type <= 0x9f || type >= 0xdc) {
      let count = type <= 0x8f ? type - 0x80 : type - 0x90;
      if (type >= 0xdc) {
        const width = type === 0xdc || type === 0xde ? 2 : 4;
        count = readUint(bytes, at, width);
        at += width;
      }
      const map = type <= 0x8f || type >= 0xde;
      const items = map ? count * 2 : count;
      if (items > end - at) throw new MalformedPayload('truncated');
      depth += 1;
      if (depth > maxDepth) throw new MalformedPayload(`nested more than ${maxDepth} deep`);
      wanted[depth] = items;
      isMap[depth] = map ? 1 : 0;
      continue;
    }
    if (type >= 0xc4 && type <= 0xc6) {
      const width = type === 0xc4 ? 1 : type === 0xc5 ? 2 : 4;
      length = readUint(bytes, at, width);
      at += width + length;
    } else if (type >= 0xca && type <= 0xd3) at += fixedWidths[type - 0xca] ?? 0;
    else throw new MalformedPayload(type === 0xc1 ? 'not MessagePack' : 'extension types are not allowed');
    if (at > end) throw new MalformedPayload('truncated');
  }
}

/** Bytes after the types 0xca to 0xd3: float 32 and 64, uint 8 to 64, int 8 to 64. */
const fixedWidths = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8];

function readUint(bytes: Uint8Array, at: number, width: number): number {
  if (width > bytes.length - at) throw new MalformedPayload('truncated');
  let value = 0;
  for (let i = at; i < at + width; i += 1) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

function checkUtf8(bytes: Uint8Array, from: number, to: number): void {
  let i = from;
  while (i < to && (bytes[i] ?? 0) < 0x80) i += 1;
  if (i < to && !isUtf8(bytes.subarray(i, to))) throw new MalformedPayload('invalid UTF-8');
}

/** msgpackr renames this key, silently and perhaps onto another. */
function isProto(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < 9; i += 1) if (bytes[at + i] !== '__proto__'.charCodeAt(i)) return false;
  return true;
}
