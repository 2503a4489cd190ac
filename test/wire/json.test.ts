import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { encodingOf } from '../../src/wire/encoding.ts';
import { decodeJson, encodeJson } from '../../src/wire/json.ts';
import { MalformedPayload } from '../../src/wire/malformed.ts';

// Inputs of 10 MB take their time where other work runs beside; nothing here waits for a clock.
vi.setConfig({ testTimeout: 60_000 });

function decoded(json: string | Uint8Array): Record<string, unknown> | MalformedPayload {
  try {
    return decodeJson(Buffer.from(json));
  } catch (error) {
    if (error instanceof MalformedPayload) return error;
    throw error;
  }
}

const anyObject = fc.dictionary(
  fc.string({ unit: 'binary', maxLength: 20 }).filter((key) => key !== '__proto__'),
  fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' }).filter((value) => !JSON.stringify(value).includes('__proto__')),
  { maxKeys: 10, noNullPrototype: true },
);

/** Pieces that break JSON where they can. */
const pieces = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '"',
  '\\',
  '\\u',
  '\\ud800',
  '\\udc00',
  'a',
  '__proto__',
  '1',
  '-',
  '1e999',
  ' ',
  '\n',
  'ü',
  '\0',
];
/** Text that breaks JSON where it can. */
const nearlyJson = fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((some) => some.join(''));

describe('JSON', () => {
  it('carries every object there and back', () => {
    fc.assert(
      fc.property(anyObject, (value) => {
        const json = JSON.parse(JSON.stringify(value)) as object;
        expect(decodeJson(encodeJson(value))).toEqual(json);
        expect(decoded(JSON.stringify(value, null, 3))).toEqual(json);
      }),
      { numRuns: 1000 },
    );
  });

  it('finds a key that comes twice at any depth, however it is written', () => {
    fc.assert(
      fc.property(anyObject, fc.string({ unit: 'binary', maxLength: 5 }), (value, key) => {
        const escaped = [...key].map((char) =>
          char.length === 1 ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : char,
        );
        const json = `{"outer":[{${JSON.stringify(key)}:${JSON.stringify(value)},"${escaped.join('')}":1}]}`;
        expect(() => JSON.parse(json) as unknown).not.toThrow();
        expect(decoded(json)).toBeInstanceOf(MalformedPayload);
      }),
      { numRuns: 500 },
    );
  });

  it('reads the same from a plain Uint8Array inside of a larger buffer', () => {
    const bytes = new TextEncoder().encode(`xx{"a":"ü"}xx`);
    expect(decodeJson(bytes.subarray(2, -2))).toEqual({ a: 'ü' });
  });

  it('lets a string hold what looks like structure', () => {
    for (const text of ['{[:', ':"\\', '\\"', '\\\\"{', '"'.repeat(99), '[{'.repeat(99)]) {
      expect(decoded(JSON.stringify({ [text]: text }))).toEqual({ [text]: text });
    }
  });

  it('may be 32 deep and not deeper', () => {
    const nested = (depth: number) => `{"x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
    expect(decoded(nested(32))).not.toBeInstanceOf(MalformedPayload);
    expect(decoded(nested(33))).toBeInstanceOf(MalformedPayload);
  });
});

describe('hostile JSON', () => {
  it('is an object or a defined error, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), nearlyJson, (bytes, near) => {
        decoded(bytes);
        decoded(near);
        decoded(`{"x":${near}}`);
        decoded(`{"${near}`);
      }),
      { numRuns: 5000 },
    );
  });

  it('is an object or a defined error when it is a valid payload with a byte changed or cut', () => {
    fc.assert(
      fc.property(anyObject, fc.nat(), fc.nat(255), (value, at, byte) => {
        const bytes = Buffer.from(encodeJson(value));
        expect(decoded(bytes.subarray(0, at % bytes.length))).toBeInstanceOf(MalformedPayload);
        bytes[at % bytes.length] = byte;
        const read = decoded(bytes);
        if (read instanceof MalformedPayload) return;
        expect(decodeJson(encodeJson(read))).toEqual(JSON.parse(JSON.stringify(read)));
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused when it is not UTF-8', () => {
    for (const hex of ['ff', 'c080', 'eda080', 'c3', 'f4908080']) {
      const bytes = Buffer.concat([Buffer.from('{"x":"'), Buffer.from(hex, 'hex'), Buffer.from('"}')]);
      expect(decoded(bytes)).toMatchObject({ message: 'invalid UTF-8' });
    }
  });

  it('leaves the prototype of objects alone', () => {
    expect(decoded('{"__proto__":{"admin":true}}')).toBeInstanceOf(MalformedPayload);
    expect(decoded('{"x":[{"\\u005f_proto__":{"admin":true}}]}')).toBeInstanceOf(MalformedPayload);
    expect(decoded('{"constructor":{"prototype":{"admin":true}}}')).toEqual({
      constructor: { prototype: { admin: true } },
    });
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
  });

  it('is read or refused when it is 10 MB long', () => {
    for (const unit of ['[', '{"a":', '"', '\\', ':', '{"a":[', ' ', '1', '\\"', '{}']) {
      const many = unit.repeat(10_000_000 / unit.length);
      expect(decoded(`{"x":${many}`)).toBeInstanceOf(MalformedPayload);
      expect(decoded(many)).toBeInstanceOf(MalformedPayload);
    }
    expect(decoded(`{"x":"${'\\\\'.repeat(5_000_000)}"}`)).toHaveProperty('x.length', 5_000_000);
  });
});

describe('the first byte', () => {
  it('tells JSON from MessagePack', () => {
    for (const json of ['{}', ' {}', '\n{}', '\r\n{}', '\t{}']) expect(encodingOf(Buffer.from(json))).toBe('json');
    for (let first = 0x80; first <= 0xff; first += 1) expect(encodingOf(Buffer.from([first]))).toBe('messagepack');
    for (const text of ['', '[', '"', 'null', '\0', '\ufeff{}'])
      expect(encodingOf(Buffer.from(text))).toBe('messagepack');
  });
});
