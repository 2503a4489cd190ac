/** The golden bytes that every implementation of the protocol reads: the worker's side of them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { failures } from '../../src/failures.ts';
import { encodingOf } from '../../src/wire/encoding.ts';
import { decodeJson, encodeJson } from '../../src/wire/json.ts';
import { MalformedPayload } from '../../src/wire/malformed.ts';
import { decodeMessagePack, encodeMessagePack } from '../../src/wire/messagepack.ts';
import { operationNames } from '../../src/wire/operation.ts';

interface Valid {
  readonly name: string;
  readonly operation: string;
  readonly kind: 'request' | 'reply';
  readonly value: Record<string, unknown>;
  readonly messagepack: string;
  readonly json: string;
  /** Our encoder writes these very bytes. */
  readonly canonical?: true;
}

interface Invalid {
  readonly name: string;
  readonly invalid: true;
  readonly messagepack?: string;
  readonly json?: string;
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/wire.json', import.meta.url), 'utf8')) as readonly (
  Valid | Invalid
)[];
const valid = vectors.flatMap((vector) => ('invalid' in vector ? [] : [vector]));
const invalid = vectors.flatMap((vector) => ('invalid' in vector ? [vector] : []));

describe('a golden payload', () => {
  it.each(valid)('is read from MessagePack: $name', ({ messagepack, value }) => {
    const bytes = Buffer.from(messagepack, 'hex');
    expect(encodingOf(bytes)).toBe('messagepack');
    expect(decodeMessagePack(bytes)).toEqual(value);
  });

  it.each(valid)('is read from JSON: $name', ({ json, value }) => {
    const bytes = Buffer.from(json);
    expect(encodingOf(bytes)).toBe('json');
    expect(decodeJson(bytes)).toEqual(value);
  });

  it.each(valid)('comes back from both encodings as it was: $name', ({ value, messagepack, canonical }) => {
    const bytes = encodeMessagePack(value);
    expect(decodeMessagePack(bytes)).toEqual(value);
    expect(decodeJson(encodeJson(value))).toEqual(value);
    if (canonical) expect(Buffer.from(bytes).toString('hex')).toBe(messagepack);
  });

  it('exists for each operation, in both directions, and for each failure', () => {
    const names = valid.map(({ operation, kind }) => `${operation} ${kind}`);
    for (const operation of operationNames) {
      expect(names).toContain(`${operation} request`);
      expect(names).toContain(`${operation} reply`);
    }
    const told = valid.flatMap(({ value }) => (value['failure'] ? [[value['failure'], value['text']]] : []));
    for (const [kind, { text }] of Object.entries(failures)) expect(told).toContainEqual([kind, text]);
  });
});

describe('a payload that must be refused', () => {
  it.each(invalid)('is: $name', ({ messagepack, json }) => {
    if (messagepack !== undefined) {
      expect(() => decodeMessagePack(Buffer.from(messagepack, 'hex'))).toThrow(MalformedPayload);
    }
    if (json !== undefined) expect(() => decodeJson(Buffer.from(json))).toThrow(MalformedPayload);
    expect(messagepack ?? json).toBeDefined();
  });
});
