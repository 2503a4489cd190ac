import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it, vi } from 'vitest';
import { MalformedPayload } from '../../src/wire/malformed.ts';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';

// Inputs of 10 MB take their time where other work runs beside; nothing here waits for a clock.
vi.setConfig({ testTimeout: 60_000 });

function decoded(bytes: Uint8Array): Record<string, unknown> | MalformedPayload {
  try {
    return decodeMessagePack(bytes);
  } catch (error) {
    if (error instanceof MalformedPayload) return error;
    throw error;
  }
}

/** A map of one key to these bytes. */
const holding = (...bytes: (number | Uint8Array)[]) =>
  Buffer.concat([
    Buffer.from([0x81, 0xa1, 0x78]),
    ...bytes.map((part) => Buffer.from(typeof part === 'number' ? [part] : part)),
  ]);

const key = fc.string({ unit: 'binary', maxLength: 40 }).filter((name) => name !== '__proto__');
const { map: anyMap } = fc.letrec<{ value: unknown; map: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'binary', maxLength: 100 }),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).filter((number) => !Object.is(number, -0)),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 20 }),
    tie('map'),
  ),
  map: fc.dictionary(key, tie('value'), { maxKeys: 20, noNullPrototype: true }),
}));

describe('MessagePack', () => {
  it('carries every map there and back', () => {
    fc.assert(
      fc.property(anyMap, (value) => {
        expect(decodeMessagePack(encodeMessagePack(value))).toEqual(value);
      }),
      { numRuns: 1000 },
    );
  });

  it('carries strings of every length, with a byte order mark first too', () => {
    for (const length of [0, 1, 15, 16, 31, 32, 63, 64, 255, 256, 4095, 4096, 65_535, 65_536, 200_000]) {
      for (const unit of ['a', 'ü', '\u{1f600}', '\ufeff']) {
        const value = { [unit.repeat(Math.min(length, 300))]: unit.repeat(length), next: '\ufeffa' };
        expect(decodeMessagePack(encodeMessagePack(value))).toEqual(value);
      }
    }
  });

  it('reads 64-bit integers as numbers, and whole floats as what they are', () => {
    const uint64 = Buffer.from('cf0000010000000000', 'hex');
    const int64 = Buffer.from('d3ffffffffffffff9c', 'hex');
    const float64 = Buffer.from('cb406f400000000000', 'hex');
    expect([uint64, int64, float64].map((bytes) => decodeMessagePack(holding(bytes))['x'])).toEqual([
      2 ** 40,
      -100,
      250,
    ]);
  });

  it('leaves binary data binary', () => {
    expect(decodeMessagePack(holding(Buffer.from('c403616263', 'hex')))['x']).toEqual(Buffer.from('abc'));
  });

  it('writes what is absent as nil, and no extension types', () => {
    const bytes = encodeMessagePack({ a: undefined, b: [undefined] });
    expect(Buffer.from(bytes).toString('hex')).toBe('82a161c0a16291c0');
  });

  it('hands out bytes that later encoding does not change', () => {
    const kept = Array.from({ length: 2000 }, (_, i) => ({
      i,
      bytes: encodeMessagePack({ i, text: 'x'.repeat(i % 97) }),
    }));
    for (const { i, bytes } of kept) expect(decodeMessagePack(bytes)).toEqual({ i, text: 'x'.repeat(i % 97) });
  });

  it('reads the same from a plain Uint8Array inside of a larger buffer', () => {
    const bytes = encodeMessagePack({ a: 'ü'.repeat(100), b: [1, 2, 3] });
    const larger = new Uint8Array(bytes.length + 20).fill(0xc1);
    larger.set(bytes, 7);
    expect(decodeMessagePack(larger.subarray(7, 7 + bytes.length))).toEqual({ a: 'ü'.repeat(100), b: [1, 2, 3] });
  });

  it('may be 32 deep and not deeper', () => {
    const nested = (depth: number) => holding(Buffer.alloc(depth - 2, 0x91), 0x90);
    expect(decoded(nested(32))).not.toBeInstanceOf(MalformedPayload);
    expect(decoded(nested(33))).toBeInstanceOf(MalformedPayload);
  });
});

describe('hostile MessagePack', () => {
  it('is a map or a defined error, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decoded(bytes);
        decoded(Buffer.concat([Buffer.from([0x80 + (bytes.length % 16)]), bytes]));
        decoded(holding(bytes));
      }),
      { numRuns: 5000 },
    );
  });

  it('is a map or a defined error when it is a valid payload with some bytes changed, cut or doubled', () => {
    fc.assert(
      fc.property(
        anyMap,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        fc.nat(),
        (value, changes, cut) => {
          const bytes = Buffer.from(encodeMessagePack(value));
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          decoded(bytes);
          decoded(bytes.subarray(0, cut % (bytes.length + 1)));
          expect(decoded(Buffer.concat([bytes, bytes]))).toBeInstanceOf(MalformedPayload);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('never loses a byte: what is read is written as the same value again', () => {
    fc.assert(
      fc.property(anyMap, fc.nat(), fc.nat(255), (value, at, byte) => {
        const bytes = Buffer.from(encodeMessagePack(value));
        bytes[at % bytes.length] = byte;
        const read = decoded(bytes);
        if (read instanceof MalformedPayload) return;
        expect(decodeMessagePack(encodeMessagePack(read))).toEqual(read);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused at every cut of a valid payload', () => {
    const bytes = encodeMessagePack({
      v: 1,
      id: 'x'.repeat(40),
      list: [1, 2.5, null, { a: 'ü'.repeat(200) }],
      n: 2 ** 40,
    });
    for (let length = 0; length < bytes.length; length += 1) {
      expect(decoded(bytes.subarray(0, length))).toBeInstanceOf(MalformedPayload);
    }
  });

  it('allocates nothing by a declared length of 2^32', () => {
    for (const type of [0xc6, 0xdb, 0xdd, 0xdf, 0xc9]) {
      expect(decoded(holding(type, Buffer.from('ffffffff', 'hex')))).toBeInstanceOf(MalformedPayload);
      const many = Buffer.concat(Array.from({ length: 1000 }, () => Buffer.from([type, 0xff, 0xff, 0xff, 0xff])));
      expect(decoded(holding(many))).toBeInstanceOf(MalformedPayload);
    }
    expect(decoded(Buffer.from('dfffffffff', 'hex'))).toBeInstanceOf(MalformedPayload);
  });

  it('may be 10,000 or 10 million deep', () => {
    for (const depth of [10_000, 10_000_000]) {
      expect(decoded(holding(Buffer.alloc(depth, 0x91)))).toBeInstanceOf(MalformedPayload);
      expect(decoded(Buffer.alloc(depth, Buffer.from([0x81, 0xa1, 0x78])))).toBeInstanceOf(MalformedPayload);
    }
  });

  it('makes no objects of extension types', () => {
    const packr = new Packr({ moreTypes: true, structuredClone: true });
    for (const value of [
      new Date(),
      new Set([1]),
      new Map([[1, 2]]),
      /x/,
      new Error('x'),
      new Uint16Array(3),
      2n ** 70n,
    ]) {
      expect(decoded(holding(packr.pack(value)))).toBeInstanceOf(MalformedPayload);
    }
    for (let type = 0xc7; type <= 0xd8; type += 1) {
      if (type >= 0xca && type <= 0xd3) continue;
      for (let extension = 0; extension < 256; extension += 1) {
        expect(decoded(holding(type, 1, extension, Buffer.alloc(20)))).toBeInstanceOf(MalformedPayload);
      }
    }
  });

  it('leaves the prototype of objects alone', () => {
    for (const bytes of [
      encodeMessagePack(JSON.parse('{"__proto__":{"admin":true}}') as object),
      encodeMessagePack({ x: JSON.parse('{"__proto__":{"admin":true}}') as object }),
    ]) {
      expect(decoded(bytes)).toBeInstanceOf(MalformedPayload);
    }
    const { constructor: value, ...rest } = decodeMessagePack(
      encodeMessagePack({ constructor: 1, toString: 2, prototype: 3 }),
    );
    expect(value).toBe(1);
    expect(rest).toEqual({ toString: 2, prototype: 3 });
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });

  it('is refused for any bytes in a string that are not UTF-8, of any length and anywhere', () => {
    const wrong = ['80', 'ff', 'c080', 'c1bf', 'eda080', 'edbfbf', 'f4908080', 'f8888080', 'c3', 'e282', 'f09f98'];
    for (const hex of wrong) {
      for (const before of [0, 1, 31, 63, 64, 100, 5000]) {
        for (const after of [0, 1, 100]) {
          const text = Buffer.concat([Buffer.alloc(before, 'a'), Buffer.from(hex, 'hex'), Buffer.alloc(after, 'a')]);
          const head = Buffer.from([0xda, 0, 0]);
          head.writeUInt16BE(text.length, 1);
          expect(decoded(holding(head, text))).toMatchObject({ message: 'invalid UTF-8' });
          expect(decoded(Buffer.concat([Buffer.from([0x81]), head, text, Buffer.from([1])]))).toMatchObject({
            message: 'invalid UTF-8',
          });
        }
      }
    }
    expect(decodeMessagePack(encodeMessagePack({ x: '\ufffd' }))).toEqual({ x: '\ufffd' });
  });

  it('of 10 MB is read or refused', () => {
    expect(decodeMessagePack(encodeMessagePack({ x: 'x'.repeat(10_000_000) }))['x']).toHaveLength(10_000_000);
    const head = Buffer.from([0xdd, 0, 0, 0, 0]);
    head.writeUInt32BE(1_000_000, 1);
    expect(decodeMessagePack(holding(head, Buffer.alloc(1_000_000, 0xc0)))['x']).toHaveLength(1_000_000);
    expect(decoded(holding(head, Buffer.alloc(1_000_000, 0x80), 0x80))).toBeInstanceOf(MalformedPayload);
  });
});
