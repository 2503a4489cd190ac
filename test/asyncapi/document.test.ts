/** docs/asyncapi.yaml: that it is AsyncAPI, up to date, and true of what goes over the wire. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { asyncApiDocument, asyncApiYaml } from '../../src/asyncapi/document.ts';
import { replyName, requestName } from '../../src/asyncapi/messages.ts';
import type { Change } from '../../src/changes.ts';
import { decodeJson } from '../../src/wire/json.ts';
import { encodeChange, encodeTick } from '../../src/wire/invalidation.ts';
import { operationNames } from '../../src/wire/operation.ts';
import type { Operation } from '../../src/wire/operation.ts';
import { problemsOf } from './validators.ts';

const checkedIn = readFileSync(new URL('../../docs/asyncapi.yaml', import.meta.url), 'utf8');
const asyncApi3 = createRequire(import.meta.url)('@asyncapi/specs/schemas/3.0.0.json') as object;

/** Every value that stands under a key anywhere in a document. */
function valuesOf(key: string, within: unknown): string[] {
  if (typeof within !== 'object' || within === null) return [];
  return Object.entries(within).flatMap(([name, value]) =>
    name === key && typeof value === 'string' ? [value] : valuesOf(key, value),
  );
}

/** What a local reference points to, as JSON pointers have it (RFC 6901). */
function resolve(reference: string, document: unknown): unknown {
  const keys = reference.replace(/^#\//, '').split('/');
  return keys.reduce((at: unknown, key) => (at as Record<string, unknown> | undefined)?.[key], document);
}

describe('docs/asyncapi.yaml', () => {
  it('is what `npm run docs:asyncapi` would write now', () => {
    expect(checkedIn).toBe(asyncApiYaml());
  });

  it('is a valid AsyncAPI 3 document', () => {
    // AsyncAPI's schema brings draft 7 with it.
    const ajv = new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false });
    formats.default(ajv);
    const validate = ajv.compile(asyncApi3);
    validate(parse(checkedIn));
    expect(validate.errors ?? []).toEqual([]);
    expect(validate({ asyncapi: '3.0.0', info: {} })).toBe(false);
  });

  it('refers to nothing that is not in it', () => {
    const document = parse(checkedIn) as unknown;
    const references = valuesOf('$ref', document);
    expect(references.length).toBeGreaterThan(50);
    expect(references.filter((reference) => resolve(reference, document) === undefined)).toEqual([]);
  });

  it('has for each operation a subject, a request, a reply and the failure', () => {
    const { operations } = asyncApiDocument() as { operations: Record<string, { reply: { messages: object[] } }> };
    for (const operation of operationNames) {
      const reply = operations[operation]?.reply.messages;
      const inbox = '#/channels/inbox/messages';
      expect(reply).toEqual([{ $ref: `${inbox}/${replyName(operation)}` }, { $ref: `${inbox}/failure-reply` }]);
      expect(resolve(`#/channels/${operation}/address`, asyncApiDocument())).toBe(`{prefix}.${operation}`);
    }
  });
});

interface Valid {
  readonly name: string;
  readonly operation: Operation;
  readonly kind: 'request' | 'reply';
  readonly value: Record<string, unknown>;
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/wire.json', import.meta.url), 'utf8')) as readonly (
  Valid | { readonly invalid: true }
)[];
const valid = vectors.flatMap((vector) => ('invalid' in vector ? [] : [vector]));

function schemaOf({ operation, kind, value }: Valid): string {
  if (kind === 'request') return requestName(operation);
  return 'failure' in value ? 'failure-reply' : replyName(operation);
}

describe('the schemas of the document', () => {
  it.each(valid)('take a golden payload: $name', (vector) => {
    expect(problemsOf(schemaOf(vector), vector.value)).toEqual([]);
  });

  it.each(valid)('take none without its version: $name', (vector) => {
    const { v: _version, ...rest } = vector.value;
    expect(problemsOf(schemaOf(vector), rest)).toContain(" must have required property 'v'");
  });

  const changes: Change[] = [
    { user: 'alice@example.org' },
    { room: 'lobby@rooms.example.org' },
    { domain: 'example.org' },
    { operation: 'join-check' },
    { all: true },
  ];

  it.each(changes)('take what is published of %o', (change) => {
    expect(problemsOf('change', decodeJson(encodeChange(change, 'test')))).toEqual([]);
    expect(problemsOf('change', { v: 1, ...change })).toEqual([]);
  });

  it('take a tick, and no change that names several things or nothing', () => {
    expect(problemsOf('tick', decodeJson(encodeTick('worker')))).toEqual([]);
    expect(problemsOf('change', { v: 1, user: 'a@b', room: 'c@d' })).not.toEqual([]);
    expect(problemsOf('change', { v: 1 })).not.toEqual([]);
  });
});
