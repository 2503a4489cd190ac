import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readRoster } from '../../src/sources/roster-http.ts';
import type { Source } from '../../src/sources/source.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { conformsAsHttpSource } from './conformance.ts';
import { make, patient } from './context.ts';
import { HttpService, answer } from './http-service.ts';

const alice = parseBareJid('alice@localhost');
const read = (value: unknown) => readRoster(alice, Buffer.from(JSON.stringify(value)));

conformsAsHttpSource('roster-http', {
  type: 'roster-http',
  options: (url) => ({ url: `${url}/roster/%s` }),
  ask: async (source, call) => (await source.roster?.(alice, call))?.items.map(({ jid }) => jid),
  answers: {
    'a contact': { body: '{"bob@localhost":{"name":"Bob","groups":{"Friends":true}}}', is: ['bob@localhost'] },
    nobody: { body: '{}', is: [] },
    'nobody, as PHP writes it': { body: ' [ ] ', is: [] },
  },
  rubbish: {
    'no JSON': '<h1>It works!</h1>',
    'a list': '["bob@localhost"]',
    null: 'null',
    'an error with status 200': '{"status":"error","message":"no database"}',
    'a name that is a number': '{"bob@localhost":{"name":5}}',
    'groups that are a text': '{"bob@localhost":{"groups":"Friends"}}',
    'groups that are numbers': '{"bob@localhost":{"groups":[1]}}',
    'a contact twice': '{"bob@localhost":{},"bob@localhost":{}}',
  },
});

describe('roster-http', () => {
  let service: HttpService;
  let source: Source;
  beforeEach(async () => {
    service = await HttpService.start();
    service.behave = answer(200, '{}');
  });
  afterEach(async () => {
    await source.stop();
    await service.stop();
  });
  const open = async (path: string, more: object = {}) => {
    ({ source } = await make({ type: 'roster-http', url: service.url + path, ...more }));
  };

  it.each([
    ['/roster/%s', '/roster/a%3F%2B%25b'],
    ['/x%20y/%s?again=%s', '/x%20y/a%3F%2B%25b?again=a%3F%2B%25b'],
    ['/{host}/{user}', '/localhost/a%3F%2B%25b'],
    ['/roster{?jid}', '/roster?jid=a%3F%2B%25b%40localhost'],
  ])('asks %s for the user, encoded', async (path, expected) => {
    await open(path);
    await source.roster?.(parseBareJid('a?+%b@localhost'), patient);
    expect(service.seen[0]?.url).toBe(expected);
  });

  it('takes a 404 for an empty roster only when told to', async () => {
    await open('/%s', { empty_on_404: true });
    service.behave = answer(404, '<h1>Not found</h1>');
    expect(await source.roster?.(alice, patient)).toEqual({ items: [], pending: [], problems: [] });
    service.behave = answer(410, '');
    await expect(source.roster?.(alice, patient)).rejects.toThrow('410');
  });
});

describe('the roster of roster-http', () => {
  it('takes a contact with nothing but a JID as one of both sides', () => {
    const bob = { jid: 'bob@localhost', subscription: 'both', groups: [] };
    expect(read({ 'Bob@LOCALHOST': {} }).items).toEqual([bob]);
    expect(read({ 'bob@localhost': null }).items).toEqual([bob]);
    expect(read({ 'bob@localhost': { name: null, subscription: null, ask: null, groups: null } }).items).toEqual([bob]);
  });

  it('takes all that a roster item can have', () => {
    const bob = { name: 'Bob', subscription: 'to', ask: 'subscribe', groups: ['A', 'B', 'A', ''] };
    expect(read({ 'bob@localhost': bob }).items).toEqual([{ jid: 'bob@localhost', ...bob, groups: ['A', 'B'] }]);
  });

  it('takes groups as a set', () => {
    expect(read({ 'bob@localhost': { groups: { A: true, B: false } } }).items[0]?.groups).toEqual(['A']);
  });

  it.each([
    ['an unknown subscription', { 'bob@localhost': { subscription: 'remove' } }, 'subscription "remove" is unknown'],
    ['an unknown ask', { 'bob@localhost': { ask: 'unsubscribe' } }, 'ask "unsubscribe" is unknown'],
    ['what is no JID', { '@localhost': {} }, 'empty node'],
    ['a full JID', { 'bob@localhost/phone': {} }, 'has a resource'],
    ['a name that XML forbids', { 'bob@localhost': { name: 'a\u0000' } }, 'characters that XML forbids'],
    ['a group that XML forbids', { 'bob@localhost': { groups: ['\u001b'] } }, 'characters that XML forbids'],
    ['the user himself', { 'ALICE@localhost': {} }, 'is the user himself'],
    [
      'another spelling of one before',
      { 'carol@localhost': {}, 'CAROL@localhost': {} },
      'is listed before as carol@localhost',
    ],
  ])('leaves out %s, says so and keeps the rest', (_, contacts, problem) => {
    const roster = read({ ...contacts, 'zoe@localhost': {} });
    expect(roster.problems).toEqual([{ jid: expect.any(String), problem: expect.stringContaining(problem) }]);
    expect(roster.items.map(({ jid }) => jid)).toContain('zoe@localhost');
  });

  it('takes any JSON for a roster with valid contacts or for a bad answer, and for nothing else', () => {
    const contact = fc.record(
      { name: fc.anything(), subscription: fc.anything(), ask: fc.anything(), groups: fc.anything() },
      { requiredKeys: [] },
    );
    const body = fc.oneof(
      fc.json(),
      fc.dictionary(fc.string({ unit: 'binary' }), contact).map((value) => jsonOf(value)),
    );
    fc.assert(
      fc.property(body, (text) => {
        try {
          const { items } = readRoster(alice, Buffer.from(text));
          for (const { jid } of items) expect(parseBareJid(jid).full).toBe(jid);
          expect(new Set(items.map(({ jid }) => jid)).size).toBe(items.length);
        } catch (error) {
          expect(error).toBeInstanceOf(SourceUnavailable);
        }
      }),
      { numRuns: 200 },
    );
  });
});

function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner));
}
