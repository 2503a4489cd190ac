import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stanzaCheckRequest } from '../../src/wire/requests.ts';

const valid = {
  v: 1,
  id: '0123456789abcdef',
  server: 'node@test',
  budget_ms: 250,
  min_seq: 7,
  traceparent: null,
  hook: 'send',
  from: 'alice@localhost/phone',
  to: 'bob@localhost',
  kind: 'message',
  type: 'chat',
  stanza: '<message/>',
  stanza_omitted: false,
};

/** On both sides of every bound that a field has, and of every type. */
const strings = [
  '',
  'send',
  'offline',
  'message',
  'iq',
  'x',
  ...[64, 65, 256, 257, 3072, 3073].map((n) => 'ä'.repeat(n)),
];
const numbers = [0, -0, 1, -1, 0.5, 600_000, 600_001, 2 ** 53 - 1, 2 ** 53, Number.NaN, Infinity, -Infinity];
const others = [undefined, null, true, false, [], {}, ['send'], new Uint8Array(4), new Date(0)];
const anyValue = fc.oneof(fc.constantFrom<unknown>(...strings, ...numbers, ...others), fc.anything());

const payloads = fc
  .dictionary(fc.constantFrom(...Object.keys(valid), 'unknown', 'toString'), anyValue, { maxKeys: 3 })
  .map((changed): Record<string, unknown> => ({ ...valid, ...changed }));

describe('a stanza-check request', () => {
  it('is recognised in plain code exactly when its schema lets it through', () => {
    const seen = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(payloads, (payload) => {
        const lets = stanzaCheckRequest.fields.safeParse(payload).success;
        seen[lets ? 'accepted' : 'refused'] += 1;
        expect(stanzaCheckRequest.accepts?.(payload)).toBe(lets);
      }),
      { numRuns: 20_000 },
    );
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(1_000);
  });

  it.each(Object.keys(valid))('is recognised exactly when its schema lets it through, without %s', (field) => {
    const payload: Record<string, unknown> = { ...valid };
    delete payload[field];
    expect(stanzaCheckRequest.accepts?.(payload)).toBe(stanzaCheckRequest.fields.safeParse(payload).success);
  });
});
