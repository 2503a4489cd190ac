/**
 * Owns MessagePack: one map with string keys to and from bytes. It knows nothing about what the keys mean.
 *
 * Encoding is msgpackr's. Decoding is done here: msgpackr makes Dates, Sets and Errors of extensions, names of numeric
 * keys, arrays of any declared length and replacement characters of invalid UTF-8, so that a walk over all the types had
 * to come before it. Both together took 1.3 µs for a stanza check; this takes 0.8.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { Packr } from 'msgpackr';
import { maxDepth } from './keys.ts';
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

// What is being decoded, outside of the functions because decoding is synchronous and must not allocate.
let bytes: Buffer = Buffer.alloc(0);
let at = 0;
let end = 0;
/** The payload with each byte as a character: ASCII strings are cut out of it. Empty when the payload is not short. */
let text = '';

/**
 * Up to this many bytes strings are cut out of one, which is what makes short ones cheap. A string that is kept keeps
 * all of that in memory, hence no more.
 */
const maxTextBytes = 1_024;

/**
 * Decodes one map with string keys. 64-bit integers come as numbers, binary data as Buffers.
 * @throws {MalformedPayload} for anything else, for extension types, duplicate keys, invalid UTF-8, and bytes left over.
 */
export function decodeMessagePack(payload: Uint8Array): Record<string, unknown> {
  bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  at = 0;
  end = bytes.length;
  text = end <= maxTextBytes ? bytes.toString('latin1') : '';
  const type = bytes[0] ?? 0;
  if ((type < 0x80 || type > 0x8f) && type !== 0xde && type !== 0xdf) throw new MalformedPayload('not a map');
  const map = readValue(0) as Record<string, unknown>;
  if (at !== end) throw new MalformedPayload('bytes after the map');
  return map;
}

function readMap(count: number, depth: number): Record<string, unknown> {
  checkCount(count * 2, depth);
  const map: Record<string, unknown> = {};
  for (let i = 0; i < count; i += 1) {
    const key = readKey();
    map[key] = readValue(depth);
  }
  if (Object.keys(map).length !== count) throw new MalformedPayload('a map has a key twice');
  return map;
}

function readArray(count: number, depth: number): unknown[] {
  checkCount(count, depth);
  const array: unknown[] = [];
  for (let i = 0; i < count; i += 1) array.push(readValue(depth));
  return array;
}

/** Each item is a byte at least. This is where a declared length of 2^32 ends. */
function checkCount(items: number, depth: number): void {
  if (depth > maxDepth) throw new MalformedPayload(`nested more than ${maxDepth} deep`);
  if (items > end - at) throw truncated();
}

/** @param depth how many maps and arrays are open */
function readValue(depth: number): unknown {
  const type = readByte();
  if (type <= 0x7f) return type;
  if (type >= 0xe0) return type - 0x100;
  if (type <= 0x8f) return readMap(type - 0x80, depth + 1);
  if (type <= 0x9f) return readArray(type - 0x90, depth + 1);
  if (isString(type)) return readString(stringLength(type));
  switch (type) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return readBinary(readUint(2 ** (type - 0xc4)));
    case 0xca:
      return bytes.readFloatBE(take(4));
    case 0xcb:
      return bytes.readDoubleBE(take(8));
    case 0xcc:
    case 0xcd:
    case 0xce:
      return readUint(2 ** (type - 0xcc));
    case 0xcf:
      return Number(bytes.readBigUInt64BE(take(8)));
    case 0xd0:
    case 0xd1:
    case 0xd2:
      return bytes.readIntBE(take(2 ** (type - 0xd0)), 2 ** (type - 0xd0));
    case 0xd3:
      return Number(bytes.readBigInt64BE(take(8)));
    case 0xdc:
    case 0xdd:
      return readArray(readUint(type === 0xdc ? 2 : 4), depth + 1);
    case 0xde:
    case 0xdf:
      return readMap(readUint(type === 0xde ? 2 : 4), depth + 1);
    default:
      throw new MalformedPayload(type === 0xc1 ? 'not MessagePack' : 'extension types are not allowed');
  }
}

function isString(type: number): boolean {
  return (type >= 0xa0 && type <= 0xbf) || (type >= 0xd9 && type <= 0xdb);
}

function stringLength(type: number): number {
  return type <= 0xbf ? type - 0xa0 : readUint(2 ** (type - 0xd9));
}

/**
 * Keys by a few of their bytes, chosen so that no two of the protocol's share a place: a key that came before needs no
 * new string, and V8 finds a property faster by one that it knows.
 */
const knownKeys: string[] = Array.from({ length: 512 }, () => '');
const maxKnownKeyLength = 24;

function readKey(): string {
  const type = readByte();
  if (!isString(type)) throw new MalformedPayload('a key is not a string');
  const length = stringLength(type);
  if (length > end - at) throw truncated();
  if (length === 0 || length > maxKnownKeyLength) return readString(length);
  const slot = (length + (bytes[at] ?? 0) * 7 + (bytes[at + length - 1] ?? 0) * 31) % knownKeys.length;
  const known = knownKeys[slot] ?? '';
  if (known.length === length && stands(known, at)) {
    at += length;
    return known;
  }
  const key = readString(length);
  // msgpackr, which others decode our replies with, renames this key.
  if (key === '__proto__') throw new MalformedPayload('a key is __proto__');
  if (key.length === length) knownKeys[slot] = key;
  return key;
}

/** Whether the ASCII text stands at this place. */
function stands(ascii: string, from: number): boolean {
  for (let i = 0; i < ascii.length; i += 1) if (bytes[from + i] !== ascii.charCodeAt(i)) return false;
  return true;
}

/** The native checks cost as much as looking at 60 bytes here. */
const maxLookedAt = 64;

function readString(length: number): string {
  const from = take(length);
  const to = from + length;
  if (isAsciiBetween(from, to)) return text === '' ? bytes.toString('latin1', from, to) : text.slice(from, to);
  if (!isUtf8(bytes.subarray(from, to))) throw new MalformedPayload('invalid UTF-8');
  return bytes.toString('utf8', from, to);
}

function isAsciiBetween(from: number, to: number): boolean {
  if (to - from > maxLookedAt) return isAscii(bytes.subarray(from, to));
  for (let i = from; i < to; i += 1) if ((bytes[i] ?? 0) >= 0x80) return false;
  return true;
}

/** A copy: what is decoded must not keep the buffer that it came in. */
function readBinary(length: number): Buffer {
  const from = take(length);
  return Buffer.from(bytes.subarray(from, from + length));
}

function readUint(width: number): number {
  const from = take(width);
  let value = 0;
  for (let i = from; i < at; i += 1) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

function readByte(): number {
  if (at >= end) throw truncated();
  const byte = bytes[at] ?? 0;
  at += 1;
  return byte;
}

/** Steps over so many bytes and says where they begin. */
function take(count: number): number {
  if (count > end - at) throw truncated();
  const from = at;
  at += count;
  return from;
}

function truncated(): MalformedPayload {
  return new MalformedPayload('truncated');
}
