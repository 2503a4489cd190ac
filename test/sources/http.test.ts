import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readDecision } from '../../src/sources/http.ts';
import type { Answer, Question, RosterChange, Source } from '../../src/sources/source.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { contactChange, joinQuestion, sessionQuestion, stanzaQuestion, subscriptionChange } from '../questions.ts';
import { conformsAsHttpSource } from './conformance.ts';
import { make, patient } from './context.ts';
import { HttpService, answer } from './http-service.ts';

const alice = parseBareJid('alice@localhost');
const stanza = '<message xmlns="jabber:client" from="a@b/c" to="d@e" id="1"><body>hi</body></message>';

const rubbish = {
  'no JSON': '<h1>It works!</h1>',
  'a list': '[]',
  null: 'null',
  'no verdict': '{"allowed":true}',
  'an unknown verdict': '{"verdict":"maybe"}',
  'a verdict that is no text': '{"verdict":true}',
  'two verdicts': '{"verdict":"allow","verdict":"deny"}',
  'an error that is a text': '{"verdict":"deny","error":"forbidden"}',
  'an unknown condition': '{"verdict":"deny","error":{"condition":"blocked"}}',
  'an unknown type of error': '{"verdict":"deny","error":{"type":"fatal"}}',
  'a text that XML forbids': '{"verdict":"deny","error":{"text":"a\\u0000b"}}',
  'a negative ttl_ms': '{"verdict":"allow","ttl_ms":-1}',
  'a ttl_ms that is a text': '{"verdict":"allow","ttl_ms":"60"}',
  'a scope that is no text': '{"verdict":"allow","scope":1}',
  'notify that is no XML': '{"verdict":"deny","notify":"<a>"}',
  'error.xml that is no stanza error': '{"verdict":"deny","error":{"xml":"<error/>"}}',
  'error.xml that is no XML': '{"verdict":"deny","error":{"xml":"<error"}}',
  'modify without a stanza': '{"verdict":"modify"}',
};

const answers = {
  allow: { body: '{"verdict":"allow"}', is: 'allow' },
  deny: { body: '{"verdict":"deny","error":{"condition":"forbidden","text":"no"}}', is: 'deny' },
  drop: { body: '{"verdict":"drop"}', is: 'drop' },
  defer: { body: '{"verdict":"defer","unknown":"ignored"}', is: 'defer' },
};

const questions = { 'stanza-check': stanzaQuestion, 'join-check': joinQuestion, 'session-check': sessionQuestion };

for (const [operation, question] of Object.entries(questions)) {
  conformsAsHttpSource(`http, ${operation}`, {
    type: 'http',
    options: (url) => ({ url }),
    ask: async (source, call) => (await source.decide?.(question(), call))?.decision.verdict,
    answers,
    rubbish,
  });
}

conformsAsHttpSource('http, roster-refresh', {
  type: 'http',
  options: (url) => ({ url: `${url}/policy?v=1` }),
  ask: (source, call) => Promise.resolve(source.roster?.(alice, call)),
  answers: {
    'a contact and a request': {
      body: '{"items":[{"jid":"Bob@localhost","groups":["A"]}],"pending":[{"jid":"eve@localhost","text":"me!"}]}',
      is: {
        items: [{ jid: 'bob@localhost', subscription: 'both', groups: ['A'] }],
        pending: [{ jid: 'eve@localhost', text: 'me!' }],
        problems: [],
      },
    },
    nobody: { body: '{"items":[]}', is: { items: [], pending: [], problems: [] } },
    'the rest, where one contact is none': {
      body: '{"items":[{"jid":"@x"},{"jid":"bob@localhost","subscription":"to"}],"pending":[{"jid":"alice@localhost"}]}',
      is: {
        items: [{ jid: 'bob@localhost', subscription: 'to', groups: [] }],
        pending: [],
        problems: [
          { jid: '@x', problem: expect.stringContaining('empty node') },
          { jid: 'alice@localhost', problem: 'is the user himself' },
        ],
      },
    },
  },
  rubbish: {
    'no JSON': 'ok',
    'no items': '{}',
    'items that are a map': '{"items":{"bob@localhost":{}}}',
    'a contact without JID': '{"items":[{"name":"Bob"}]}',
    'a list': '[{"jid":"bob@localhost"}]',
  },
});

const errorRubbish = Object.fromEntries(
  Object.entries(rubbish).filter(([name]) => !/stanza$|ttl_ms|scope|notify/.test(name)),
);

conformsAsHttpSource('http, roster-set', {
  type: 'http',
  options: (url) => ({ url }),
  once: true,
  ask: (source, call) =>
    Promise.resolve(source.rosterChange?.(contactChange({ name: 'Bob', groups: ['Friends'] }), call)),
  answers: {
    allow: { body: '{"verdict":"allow","reason":"why not"}', is: { verdict: 'allow', reason: 'why not' } },
    deny: {
      body: '{"verdict":"deny","error":{"condition":"forbidden","text":"no"}}',
      is: { verdict: 'deny', error: { condition: 'forbidden', text: 'no' } },
    },
    drop: { body: '{"verdict":"drop"}', is: { verdict: 'drop' } },
    'defer, without what has no meaning here': {
      body: '{"verdict":"defer","ttl_ms":5,"scope":"pair","notify":"<a>","stanza":"<a>","item":{"name":"x"}}',
      is: { verdict: 'defer' },
    },
    'modify of all': {
      body: '{"verdict":"modify","item":{"name":"Robert","groups":["Staff","Staff",""]}}',
      is: { verdict: 'modify', item: { name: 'Robert', groups: ['Staff'] } },
    },
    'modify of the name alone': {
      body: '{"verdict":"modify","item":{"name":"Robert","groups":null}}',
      is: { verdict: 'modify', item: { name: 'Robert', groups: ['Friends'] } },
    },
    'modify of the groups alone, as a set': {
      body: '{"verdict":"modify","item":{"groups":{"Staff":true,"Friends":false}}}',
      is: { verdict: 'modify', item: { name: 'Bob', groups: ['Staff'] } },
    },
    'modify to no name and no group': {
      body: '{"verdict":"modify","item":{"name":"","groups":[]}}',
      is: { verdict: 'modify', item: { groups: [] } },
    },
  },
  rubbish: {
    ...errorRubbish,
    'modify without an item': '{"verdict":"modify"}',
    'modify with an item that says nothing': '{"verdict":"modify","item":{"nmae":"Robert"}}',
    'an item that is a list': '{"verdict":"modify","item":[]}',
    'a name that is a number': '{"verdict":"modify","item":{"name":7}}',
    'a group that is a number': '{"verdict":"modify","item":{"groups":[7]}}',
    'a name that XML forbids': '{"verdict":"modify","item":{"name":"a\\u0001b"}}',
    'a group that XML forbids': '{"verdict":"modify","item":{"groups":["a\\uffffb"]}}',
  },
});

conformsAsHttpSource('http, roster-subscription', {
  type: 'http',
  options: (url) => ({ url }),
  once: true,
  ask: (source, call) => Promise.resolve(source.rosterChange?.(subscriptionChange(), call)),
  answers: {
    allow: { body: '{"verdict":"allow"}', is: { verdict: 'allow' } },
    deny: { body: '{"verdict":"deny"}', is: { verdict: 'deny' } },
    drop: { body: '{"verdict":"drop"}', is: { verdict: 'drop' } },
  },
  rubbish: { ...errorRubbish, modify: '{"verdict":"modify","item":{"name":"Robert"}}' },
});

describe('http', () => {
  let service: HttpService;
  let source: Source;
  beforeEach(async () => {
    service = await HttpService.start();
    service.behave = answer(200, '{"verdict":"allow"}');
  });
  afterEach(async () => {
    await source.stop();
    await service.stop();
  });
  const open = async (more: object = {}) => {
    ({ source } = await make({ type: 'http', url: `${service.url}/policy?v=1`, ...more }));
  };
  const decide = (question: Question): Promise<Answer> | undefined => source.decide?.(question, patient);
  const asked = () => service.seen.map(({ body }) => JSON.parse(body) as unknown);

  it('posts a stanza-check with JIDs in normal form', async () => {
    await open();
    await decide(stanzaQuestion({ from: 'Alice@LOCALHOST/Phone', stanza }));
    expect(service.seen[0]).toMatchObject({ method: 'POST', url: '/policy?v=1' });
    expect(service.seen[0]?.headers['content-type']).toBe('application/json');
    expect(asked()).toEqual([
      {
        operation: 'stanza-check',
        id: '0123456789abcdef01234567',
        server: 'node@test',
        hook: 'send',
        from: 'alice@localhost/Phone',
        to: 'bob@localhost',
        kind: 'message',
        type: 'chat',
        stanza,
        stanza_omitted: false,
      },
    ]);
  });

  it('posts a join-check and a session-check with all that is known', async () => {
    await open();
    await decide(joinQuestion({ creating: true }));
    await decide(sessionQuestion({ ip: '192.0.2.1', tls: true }));
    const who = { id: '0123456789abcdef01234567', server: 'node@test', user: 'alice@localhost/phone' };
    expect(asked()).toEqual([
      { operation: 'join-check', ...who, room: 'lobby@rooms.localhost', nick: 'Alice', event: 'join', creating: true },
      { operation: 'session-check', ...who, ip: '192.0.2.1', tls: true },
    ]);
  });

  it('keeps the stanza to itself when told to', async () => {
    await open({ send_stanza: false });
    await decide(stanzaQuestion({ stanza }));
    expect(asked()[0]).not.toHaveProperty('stanza');
    expect(source.identity?.(stanzaQuestion({ stanza }))).toBe(source.identity?.(stanzaQuestion()));
  });

  it('wants the stanza only where told that the decision needs it', async () => {
    const without = stanzaQuestion({ stanza: undefined });
    await open();
    expect(source.needsStanza?.(without)).toBe(false);
    await source.stop();
    await open({ needs_stanza: true });
    expect(source.needsStanza?.(without)).toBe(true);
    expect(source.needsStanza?.(stanzaQuestion())).toBe(false);
    expect(source.needsStanza?.(stanzaQuestion({ stanza: undefined, stanza_omitted: true }))).toBe(false);
    expect(source.needsStanza?.(joinQuestion())).toBe(false);
  });

  it('asks once for requests that differ in their id and node only', async () => {
    await open();
    const identity = source.identity?.(sessionQuestion());
    expect(source.identity?.(sessionQuestion({ id: 'another', server: 'node@other' }))).toBe(identity);
    expect(source.identity?.(sessionQuestion({ ip: '192.0.2.1' }))).not.toBe(identity);
    expect(source.identity?.(joinQuestion())).not.toBe(identity);
  });

  it.each([
    ['{"verdict":"allow"}', { ttlMs: undefined, scope: 'none' }],
    ['{"verdict":"allow","ttl_ms":0,"scope":"pair"}', { ttlMs: 0, scope: 'pair' }],
    ['{"verdict":"allow","ttl_ms":1500,"scope":"room"}', { ttlMs: 1500, scope: 'room' }],
    ['{"verdict":"allow","ttl_ms":null,"scope":"galaxy"}', { ttlMs: undefined, scope: 'none' }],
  ])('reads how far %s carries', async (body, expected) => {
    await open();
    service.behave = answer(200, body);
    expect(await decide(joinQuestion())).toMatchObject(expected);
  });

  it('passes on error, notify and reason', async () => {
    await open();
    const decision = {
      verdict: 'deny',
      error: { type: 'modify', condition: 'policy-violation', text: 'too long' },
      notify: '<message><body>mallory wrote to you</body></message>',
      reason: 'rule 7',
    };
    service.behave = answer(200, JSON.stringify(decision));
    expect((await decide(stanzaQuestion()))?.decision).toEqual(decision);
  });

  const modified = (replacement: string) => JSON.stringify({ verdict: 'modify', stanza: replacement, scope: 'pair' });

  it('takes a replacement of the same name, from, to and id, for this one stanza', async () => {
    await open();
    const replacement = stanza.replace('hi', 'ho');
    service.behave = answer(200, modified(replacement));
    const { decision, scope } = (await decide(stanzaQuestion({ stanza }))) ?? {};
    expect([decision?.stanza, scope]).toEqual([replacement, 'none']);
  });

  it.each([
    ['another name', stanza.replaceAll('message', 'presence')],
    ['another from', stanza.replace('a@b/c', 'x@b/c')],
    ['no to', stanza.replace(' to="d@e"', '')],
    ['another id', stanza.replace('id="1"', 'id="2"')],
    ['something that is no XML', stanza.slice(0, -1)],
    ['two stanzas', stanza + stanza],
  ])('takes no replacement with %s', async (_, replacement) => {
    await open();
    service.behave = answer(200, modified(replacement));
    await expect(decide(stanzaQuestion({ stanza }))).rejects.toMatchObject({ outcome: 'bad-answer' });
  });

  it('takes no replacement for what was not there, or is no stanza', async () => {
    await open();
    service.behave = answer(200, modified(stanza));
    for (const question of [stanzaQuestion({ stanza: undefined }), joinQuestion(), sessionQuestion()]) {
      await expect(decide(question)).rejects.toMatchObject({ outcome: 'bad-answer' });
    }
  });

  it.each<[string, RosterChange, object]>([
    [
      'a contact with a name and groups',
      contactChange({ contact: 'Bob@LOCALHOST', name: 'Bob', groups: ['A'] }),
      { operation: 'roster-set', contact: 'bob@localhost', name: 'Bob', groups: ['A'], remove: false },
    ],
    [
      'a contact that goes',
      contactChange({ remove: true }),
      { operation: 'roster-set', contact: 'bob@localhost', groups: [], remove: true },
    ],
    [
      'a request for subscription',
      subscriptionChange({ direction: 'in', text: 'me!' }),
      {
        operation: 'roster-subscription',
        contact: 'bob@localhost',
        direction: 'in',
        action: 'subscribe',
        text: 'me!',
      },
    ],
    [
      'a cancelled subscription',
      subscriptionChange({ action: 'unsubscribed' }),
      { operation: 'roster-subscription', contact: 'bob@localhost', direction: 'out', action: 'unsubscribed' },
    ],
  ])('tells of %s, with the key by which to know a repetition', async (_, change, fields) => {
    await open();
    await source.rosterChange?.(change, patient);
    expect(asked()).toEqual([{ ...fields, user: 'alice@localhost', id: change.request.id, server: 'node@test' }]);
  });

  it('takes no other item for a contact that goes', async () => {
    await open();
    service.behave = answer(200, '{"verdict":"modify","item":{"name":"Robert"}}');
    await expect(source.rosterChange?.(contactChange({ remove: true }), patient)).rejects.toMatchObject({
      outcome: 'bad-answer',
    });
  });

  it('tells that an account is gone, with the key by which to know a repetition; any 2xx will do', async () => {
    await open();
    service.behave = answer(204, '');
    await source.userRemoved?.(alice, 'key-1', patient);
    service.behave = answer(200, 'fine, thank you');
    await source.userRemoved?.(alice, 'key-2', patient);
    expect(asked()).toEqual(
      ['key-1', 'key-2'].map((id) => ({ operation: 'user-removed', user: 'alice@localhost', id })),
    );
    service.behave = answer(404, '');
    await expect(source.userRemoved?.(alice, 'key-3', patient)).rejects.toMatchObject({ outcome: 'bad-status' });
    service.behave = (response) => void response.socket?.destroy();
    await expect(source.userRemoved?.(alice, 'key-4', patient)).rejects.toMatchObject({ outcome: 'unreachable' });
    expect(service.seen).toHaveLength(4);
  });
});

describe('the decision of http', () => {
  it('is what any body is read for, or it is a bad answer, and nothing else', () => {
    const field = fc.oneof(fc.constantFrom('allow', 'deny', 'modify', '<a/>', '<a>', null, 1, {}), fc.string());
    const fields = { verdict: field, notify: field, stanza: field, ttl_ms: field, scope: field };
    const verdict = fc.record(
      { ...fields, error: fc.oneof(field, fc.record({ type: field, xml: field })) },
      { requiredKeys: [] },
    );
    const texts = fc.oneof(
      fc.json(),
      verdict.map((value) => JSON.stringify(value)),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          expect(['allow', 'deny', 'drop', 'defer']).toContain(
            readDecision(Buffer.from(text), joinQuestion()).decision.verdict,
          );
        } catch (error) {
          expect(error).toMatchObject({ outcome: 'bad-answer' });
        }
      }),
      { numRuns: 200 },
    );
  });
});
