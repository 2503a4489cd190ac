import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { z } from 'zod';
import { Failure } from '../../src/failures.ts';
import { decodePayload, decodeRequest, encodePayload, failureReplyOf } from '../../src/wire/codec.ts';
import { encodingOf } from '../../src/wire/encoding.ts';
import type { Encoding } from '../../src/wire/encoding.ts';
import { operationNames } from '../../src/wire/operation.ts';
import type { Operation } from '../../src/wire/operation.ts';
import * as requests from '../../src/wire/requests.ts';

vi.setConfig({ testTimeout: 60_000 });

type Form = requests.RequestForm<z.ZodType, requests.Envelope>;
const forms: { readonly [O in Operation]: unknown } = {
  'stanza-check': requests.stanzaCheckRequest,
  'join-check': requests.joinCheckRequest,
  'session-check': requests.sessionCheckRequest,
  'roster-refresh': requests.rosterRefreshRequest,
  'roster-set': requests.rosterSetRequest,
  'roster-subscription': requests.rosterSubscriptionRequest,
  'user-removed': requests.userRemovedRequest,
};
const formOf = (operation: Operation) => forms[operation] as Form;

interface Vector {
  readonly operation: Operation;
  readonly kind?: 'request' | 'reply';
  readonly value: Record<string, unknown>;
  readonly messagepack: string;
  readonly json: string;
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/wire.json', import.meta.url), 'utf8')) as readonly Vector[];
const requestVectors = vectors.filter(({ kind }) => kind === 'request');

/** As the dispatcher does it. Any other error than a `bad-request` fails the test. */
function decoded(operation: Operation, bytes: Uint8Array): requests.Envelope | Failure {
  try {
    return decodeRequest(formOf(operation), decodePayload(bytes, encodingOf(bytes)));
  } catch (error) {
    if (error instanceof Failure && error.kind === 'bad-request') return error;
    throw error;
  }
}

const encoding = fc.constantFrom<Encoding>('messagepack', 'json');
const operation = fc.constantFrom(...operationNames);
const valid = fc.constantFrom(...requestVectors);
/** What may stand where something else was expected. */
const anything = fc.oneof(
  fc.anything({ maxDepth: 3, withNullPrototype: false, withObjectString: false }),
  fc.constantFrom<unknown>(
    '',
    '@',
    'a@b/',
    '\ud800',
    Number.NaN,
    Infinity,
    -1,
    2 ** 53,
    1e300,
    new Uint8Array(3),
    [],
    {},
  ),
);

describe('a request', () => {
  it.each(requestVectors)('is read the same from both encodings: $name', ({ operation: asked, messagepack, json }) => {
    const request = decoded(asked, Buffer.from(messagepack, 'hex'));
    expect(request).not.toBeInstanceOf(Failure);
    expect(decoded(asked, Buffer.from(json))).toEqual(request);
  });

  it('is valid or a bad request when any of its fields is anything, missing, or too much', () => {
    fc.assert(
      fc.property(valid, encoding, fc.nat(), anything, fc.string(), (vector, into, which, other, extra) => {
        const names = Object.keys(vector.value);
        const name = names[which % names.length] ?? '';
        const { [name]: _, ...without } = vector.value;
        for (const value of [{ ...vector.value, [name]: other }, without, { ...vector.value, [extra]: other }]) {
          const bytes = encoded(value, into);
          if (bytes) decoded(vector.operation, bytes);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('is valid or a bad request when it was meant for another operation', () => {
    fc.assert(
      fc.property(valid, operation, encoding, ({ value }, asked, into) => {
        decoded(asked, encodePayload(value, into));
      }),
      { numRuns: 500 },
    );
  });

  it('is valid or a bad request when some of its bytes are changed, cut or put in', () => {
    fc.assert(
      fc.property(
        valid,
        encoding,
        fc.nat(),
        fc.uint8Array({ maxLength: 4 }),
        fc.nat(4),
        (vector, into, where, put, cut) => {
          const bytes = encodePayload(vector.value, into);
          const at = where % bytes.length;
          decoded(vector.operation, Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]));
        },
      ),
      { numRuns: 5000 },
    );
  });

  it('is a bad request when it is any bytes at all', () => {
    fc.assert(
      fc.property(operation, fc.uint8Array({ maxLength: 300 }), (asked, bytes) => {
        expect(decoded(asked, bytes)).toBeInstanceOf(Failure);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused with a detail that fits a line of a log', () => {
    const users = Array.from({ length: 10_000 }, () => 1);
    const failure = decoded('roster-refresh', encodePayload({ v: 1, users, [`x${'y'.repeat(5000)}`]: 1 }, 'json'));
    expect(failure).toBeInstanceOf(Failure);
    expect((failure as Failure).message.length).toBeLessThanOrEqual(1000);
  });
});

describe('a failure', () => {
  it('never tells the asker more than its kind', () => {
    expect(decodePayload(encodePayload(failureReplyOf('internal', 'x'), 'messagepack'), 'messagepack')).toEqual({
      v: 1,
      id: 'x',
      failure: 'internal',
      text: 'The worker failed.',
    });
  });
});

/** Not everything can be written at all: bigints and cycles cannot. */
function encoded(value: object, into: Encoding): Uint8Array | undefined {
  try {
    return encodePayload(value, into);
  } catch {
    return undefined;
  }
}
