import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ConfigInvalid } from '../../src/config/problems.ts';
import { answerOf, identityOf, rosterIn } from '../../src/sources/static-policy.ts';
import { parsePolicy } from '../../src/sources/static-schema.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { joinQuestion, sessionQuestion, stanzaQuestion } from '../questions.ts';

vi.setConfig({ testTimeout: 60_000 });

function policy(text: string) {
  return parsePolicy(text, 'policy.yaml');
}

function problemsOf(text: string): string {
  try {
    policy(text);
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.message;
    throw error;
  }
  return 'none';
}

describe('stanzas in a static policy', () => {
  const answer = (text: string, from: string, to: string, kind = 'message') =>
    answerOf(policy(text), stanzaQuestion({ from, to, kind })).decision;
  const rules = `
stanzas:
  default: allow
  deny:
    - { from: mallory@localhost, text: You are blocked. }
    - { from: alice@localhost, to: [bob@localhost, "*@example.org"], condition: policy-violation }
    - { from: "*@spam.example", silent: true }
    - { to: spam.example }
    - { from: carol@localhost, kinds: [presence] }
  allow:
    - { from: mallory@localhost, to: alice@localhost }
`;

  it.each([
    ['mallory@localhost/x', 'bob@localhost', 'message', 'deny', 'stanzas.deny[0]'],
    ['mallory@localhost', 'alice@localhost', 'message', 'deny', 'stanzas.deny[0]'],
    ['alice@localhost/x', 'bob@localhost/y', 'iq', 'deny', 'stanzas.deny[1]'],
    ['alice@localhost/x', 'anyone@example.org', 'iq', 'deny', 'stanzas.deny[1]'],
    ['alice@localhost/x', 'example.org', 'iq', 'allow', 'stanzas.default'],
    ['alice@localhost/x', 'x@sub.example.org', 'iq', 'allow', 'stanzas.default'],
    ['bob@localhost', 'alice@localhost', 'message', 'allow', 'stanzas.default'],
    ['a@spam.example', 'alice@localhost', 'message', 'drop', 'stanzas.deny[2]'],
    ['spam.example', 'alice@localhost', 'message', 'allow', 'stanzas.default'],
    ['alice@localhost', 'spam.example/x', 'message', 'deny', 'stanzas.deny[3]'],
    ['carol@localhost', 'alice@localhost', 'presence', 'deny', 'stanzas.deny[4]'],
    ['carol@localhost', 'alice@localhost', 'message', 'allow', 'stanzas.default'],
  ])('from %s to %s, %s: %s, because of %s', (from, to, kind, verdict, reason) => {
    expect(answer(rules, from, to, kind)).toMatchObject({ verdict, reason });
  });

  it('tells the denied what the rule says, completed', () => {
    expect(answer(rules, 'mallory@localhost', 'bob@localhost').error).toEqual({
      type: 'cancel',
      condition: 'not-allowed',
      text: 'You are blocked.',
    });
    expect(answer(rules, 'alice@localhost', 'bob@localhost').error).toEqual({
      type: 'modify',
      condition: 'policy-violation',
    });
    expect(answer(rules, 'alice@localhost', 'spam.example').error).toBeUndefined();
  });

  it('lets only those pass who are allowed where the default is deny', () => {
    const text = 'stanzas: { default: deny, allow: [{ from: "*@localhost" }] }';
    expect(answer(text, 'alice@localhost', 'x@example.org').reason).toBe('stanzas.allow[0]');
    expect(answer(text, 'x@example.org', 'alice@localhost')).toEqual({ verdict: 'deny', reason: 'stanzas.default' });
  });

  it('knows users by their normal form', () => {
    const text = 'stanzas: { default: allow, deny: [{ from: Mallory@LOCALHOST }] }';
    expect(answer(text, 'MALLORY@localhost', 'bob@localhost').verdict).toBe('deny');
  });

  it('decides for the pair, and asks once for equal questions', () => {
    expect(answerOf(policy(rules), stanzaQuestion()).scope).toBe('pair');
    expect(identityOf(stanzaQuestion({ from: 'alice@localhost/a' }))).toBe(
      identityOf(stanzaQuestion({ from: 'alice@localhost/b' })),
    );
    expect(identityOf(stanzaQuestion({ kind: 'iq' }))).not.toBe(identityOf(stanzaQuestion()));
  });
});

describe('rooms in a static policy', () => {
  const rules = `
rooms:
  default: deny
  list:
    lobby@rooms.localhost: { allow: ["*"], deny: [mallory@localhost] }
    staff@rooms.localhost: { allow: [alice@localhost], condition: registration-required, text: Staff only. }
    open@rooms.localhost: {}
    "*@public.localhost": { allow: ["*@localhost"] }
`;
  const answer = (user: string, room: string) => answerOf(policy(rules), joinQuestion({ user: `${user}/x`, room }));

  it.each([
    ['alice@localhost', 'lobby@rooms.localhost', 'allow', 'rooms.list."lobby@rooms.localhost".allow[0]'],
    ['mallory@localhost', 'lobby@rooms.localhost', 'deny', 'rooms.list."lobby@rooms.localhost".deny[0]'],
    ['alice@localhost', 'staff@rooms.localhost', 'allow', 'rooms.list."staff@rooms.localhost".allow[0]'],
    ['bob@localhost', 'staff@rooms.localhost', 'deny', 'not in rooms.list."staff@rooms.localhost".allow'],
    ['bob@localhost', 'open@rooms.localhost', 'allow', 'rooms.list."open@rooms.localhost".allow[0]'],
    ['bob@localhost', 'any@public.localhost', 'allow', 'rooms.list."*@public.localhost".allow[0]'],
    ['bob@example.org', 'any@public.localhost', 'deny', 'not in rooms.list."*@public.localhost".allow'],
    ['alice@localhost', 'other@rooms.localhost', 'deny', 'rooms.default'],
  ])('%s into %s: %s, because of %s', (user, room, verdict, reason) => {
    expect(answer(user, room)).toMatchObject({ decision: { verdict, reason }, scope: 'room' });
  });

  it('tells the denied what the room says', () => {
    const error = { type: 'auth', condition: 'registration-required', text: 'Staff only.' };
    expect(answer('bob@localhost', 'staff@rooms.localhost').decision.error).toEqual(error);
  });
});

describe('sessions and rosters in a static policy', () => {
  it('denies sessions by user, in the long form and the short one', () => {
    const rules = policy('sessions: { default: allow, deny: [eve@localhost, { user: "*@localhost", text: Closed. }] }');
    const reasonFor = (user: string) => answerOf(rules, sessionQuestion({ user: `${user}/x` })).decision.reason;
    expect([reasonFor('eve@localhost'), reasonFor('bob@localhost'), reasonFor('bob@example.org')]).toEqual([
      'sessions.deny[0]',
      'sessions.deny[1]',
      'sessions.default',
    ]);
    expect(answerOf(rules, sessionQuestion()).scope).toBe('sender');
  });

  it('has an empty roster for who is not listed', () => {
    const rules = policy('rosters: { Alice@localhost: [{ jid: Bob@localhost, name: Bob }] }');
    expect(rosterIn(rules, parseBareJid('alice@localhost')).items).toEqual([
      { jid: 'bob@localhost', name: 'Bob', subscription: 'both', groups: [] },
    ]);
    expect(rosterIn(rules, parseBareJid('bob@localhost')).items).toEqual([]);
  });
});

describe('a static policy file', () => {
  it('denies nobody in the sections that it does not have', () => {
    for (const question of [stanzaQuestion(), joinQuestion(), sessionQuestion()]) {
      expect(answerOf(policy('{}'), question).decision.verdict).toBe('allow');
    }
  });

  it('may have lists in which every line is commented out', () => {
    expect(
      problemsOf(
        'stanzas:\n  default: allow\n  deny:\n  # - { from: a@b }\nrooms:\n  default: deny\n  list:\nrosters:',
      ),
    ).toBe('none');
  });

  it.each([
    ['', 'policy.yaml: is empty; a policy that says nothing is written {}'],
    ['# only a comment\n---\n', 'policy.yaml: is empty; a policy that says nothing is written {}'],
    ['- a', 'policy.yaml: must be a map of stanzas, rooms, sessions, rosters'],
    ['stanza: {}', 'policy.yaml:1: stanza: is unknown here; did you mean stanzas?'],
    ['stanzas:\n  deny: []', 'policy.yaml:1: stanzas.default: is missing; it must be one of allow, deny'],
    ['stanzas:\n  default: alow', 'policy.yaml:2: stanzas.default: must be one of allow, deny'],
    ['stanzas:\n  default: allow\n  deny:\n    - text: x', 'policy.yaml:4: stanzas.deny[0]: says neither from nor to'],
    [
      'stanzas:\n  default: allow\n  deny:\n    - from: "a@b/c"',
      'policy.yaml:4: stanzas.deny[0].from[0]: "a@b/c" has a resource',
    ],
    [
      'stanzas:\n  default: allow\n  deny:\n    - from: "al*@b"',
      'policy.yaml:4: stanzas.deny[0].from[0]: "al*@b" has a * where none can be',
    ],
    [
      'stanzas:\n  default: allow\n  deny:\n    - from: a@b\n      condition: forbiden',
      'policy.yaml:5: stanzas.deny[0].condition: must be one of',
    ],
    [
      'rooms:\n  default: deny\n  list:\n    lobby@r: { alow: ["*"] }',
      'policy.yaml:4: rooms.list.lobby@r.alow: is unknown here; did you mean allow?',
    ],
    [
      'rooms:\n  default: deny\n  list:\n    a@r: {}\n    A@r: {}',
      'policy.yaml:5: rooms.list.A@r: is listed before, as a@r',
    ],
    [
      'rosters:\n  alice@localhost:\n    - { jid: bob@localhost, subscription: maybe }',
      'policy.yaml:3: rosters.alice@localhost[0].subscription: must be one of',
    ],
    ['rosters:\n  a@b:\n    - c@d\n    - C@d', 'policy.yaml:2: rosters.a@b: lists c@d twice'],
    ['rosters:\n  a@b: [A@b]', 'policy.yaml:2: rosters.a@b: lists a@b as a contact of himself'],
    ['rosters:\n  "@b": []', 'has an empty node'],
    [
      'sessions:\n  default: allow\n  deny:\n    - { user: a@b, text: "\\0" }',
      'policy.yaml:4: sessions.deny[0].text: has characters that XML forbids',
    ],
    ['stanzas: {default: allow\n', 'policy.yaml:'],
  ])('says what is wrong with %j', (text, problem) => expect(problemsOf(text)).toContain(problem));

  it('says everything that is wrong at once', () => {
    expect(problemsOf('stanzas: { default: x }\nrooms: { default: y }\nsessions: 5').split('\n')).toHaveLength(3);
  });

  it('takes any text for a policy or for problems, and for nothing else', () => {
    const words = fc.constantFrom(
      'stanzas:',
      'default: allow',
      'deny:',
      'rosters:',
      '- ',
      '  ',
      '\n',
      '*a',
      '&a',
      '<<: ',
      '{',
      '}',
      'a@b',
      '!!js',
      '? ',
    );
    const anything = fc.oneof(
      fc.array(words).map((list) => list.join('')),
      fc.string(),
      fc.json(),
    );
    fc.assert(
      fc.property(anything, (text) => {
        expect(problemsOf(text)).not.toBe('');
      }),
      { numRuns: 200 },
    );
  });
});
