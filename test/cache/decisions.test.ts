import { describe, expect, it } from 'vitest';
import { Decisions } from '../../src/cache/decisions.ts';
import { ChangeOrder } from '../../src/cache/order.ts';
import { Proof } from '../../src/cache/proof.ts';
import { RecentChanges } from '../../src/cache/recent.ts';
import type { Route } from '../../src/cache/routes.ts';
import type { Answer, Question } from '../../src/sources/source.ts';
import type { Verdict } from '../../src/wire/replies.ts';
import { ManualClock } from '../clock.ts';
import { HeldSource } from '../held-source.ts';
import { joinQuestion, stanzaQuestion } from '../questions.ts';

const zero = (): Record<Verdict, number> => ({ allow: 0, deny: 0, drop: 0, modify: 0, defer: 0 });

function setUp({ ttlMs = 10_000, max = 100 } = {}) {
  const clock = new ManualClock();
  const order = new ChangeOrder();
  const proof = new Proof(order, clock, 2_000);
  const recent = new RecentChanges(order, clock, 60_000);
  const decisions = new Decisions(max, { order, proof, recent, clock });
  const source = new HeldSource();
  const route: Route = {
    operation: 'stanza-check',
    source,
    ttlMs,
    fallback: 'fail',
    unprovedMs: 0,
    scopesSeen: [],
    counts: { decided: zero(), degraded: zero(), remembered: 0 },
  };
  const call = { signal: new AbortController().signal };
  const lookUp = (question: Question) => decisions.lookUp(question, route, call);
  const recall = (question: Question) => decisions.recall(question, route)?.decision.verdict;
  return { clock, order, proof, decisions, source, route, lookUp, recall };
}

const allow: Answer = { decision: { verdict: 'allow' }, scope: 'pair' };
const deny: Answer = { decision: { verdict: 'deny' }, scope: 'pair' };

async function decided(setup: ReturnType<typeof setUp>, question: Question, answer: Answer): Promise<void> {
  const looking = setup.lookUp(question);
  setup.source.asked.at(-1)?.answer(answer);
  await looking;
}

describe('decisions', () => {
  it('a decision is remembered until its time to live is over, counted from the beginning of the lookup', async () => {
    const setup = setUp({ ttlMs: 1_000 });
    const looking = setup.lookUp(stanzaQuestion());
    setup.clock.advance(400);
    setup.source.asked[0]?.answer(deny);
    await looking;
    setup.clock.advance(599);
    expect(setup.recall(stanzaQuestion())).toBe('deny');
    setup.clock.advance(1);
    expect(setup.recall(stanzaQuestion())).toBeUndefined();
  });

  it('what expired is kept for the fallback, what was invalidated is not', async () => {
    const setup = setUp({ ttlMs: 10 });
    await decided(setup, stanzaQuestion(), deny);
    setup.clock.advance(11);
    expect(setup.decisions.recallExpired(stanzaQuestion(), setup.route)?.verdict).toBe('deny');
    setup.order.hear({ user: 'bob@localhost' });
    expect(setup.decisions.recallExpired(stanzaQuestion(), setup.route)).toBeUndefined();
  });

  it('the answer may set its own time to live, and 0 means not to remember', async () => {
    const setup = setUp();
    await decided(setup, stanzaQuestion(), { ...allow, ttlMs: 0 });
    expect(setup.recall(stanzaQuestion())).toBeUndefined();
    await decided(setup, stanzaQuestion(), { ...allow, ttlMs: 5_000 });
    setup.clock.advance(4_999);
    expect(setup.recall(stanzaQuestion())).toBe('allow');
  });

  it('identical lookups in flight are one', async () => {
    const setup = setUp();
    const waiting = [1, 2, 3].map(() => setup.lookUp(stanzaQuestion()));
    setup.source.asked[0]?.answer(deny);
    const known = await Promise.all(waiting);
    expect(known.map(({ decision }) => decision.verdict)).toEqual(['deny', 'deny', 'deny']);
    expect(setup.source.asked).toHaveLength(1);
    expect(setup.decisions.flights.inFlight).toBe(0);
  });

  it('a failure reaches everyone who waited and is not remembered', async () => {
    const setup = setUp();
    const waiting = [setup.lookUp(stanzaQuestion()), setup.lookUp(stanzaQuestion())];
    setup.source.asked[0]?.fail(new Error('gone'));
    for (const one of waiting) await expect(one).rejects.toThrow('gone');
    expect(setup.recall(stanzaQuestion())).toBeUndefined();
    await decided(setup, stanzaQuestion(), allow);
    expect(setup.recall(stanzaQuestion())).toBe('allow');
  });

  it('an invalidation during a lookup is not overwritten by it', async () => {
    const setup = setUp();
    const looking = setup.lookUp(stanzaQuestion());
    setup.order.hear({ user: 'alice@localhost' });
    setup.source.asked[0]?.answer(allow);
    await looking;
    expect(setup.recall(stanzaQuestion())).toBeUndefined();
  });

  it('who asks after an invalidation does not join a lookup that began before it', async () => {
    const setup = setUp();
    const before = setup.lookUp(stanzaQuestion());
    setup.order.hear({ domain: 'localhost' });
    const after = setup.lookUp(stanzaQuestion());
    expect(setup.source.asked).toHaveLength(2);
    setup.source.asked[1]?.answer(deny);
    expect((await after).decision.verdict).toBe('deny');
    setup.source.asked[0]?.answer(allow);
    expect((await before).decision.verdict).toBe('allow');
    expect(setup.recall(stanzaQuestion())).toBe('deny');
  });

  it('one lookup answers both directions when the source says so, to those who join as well', async () => {
    const setup = setUp();
    const there = stanzaQuestion();
    const back = stanzaQuestion({ from: 'bob@localhost/desk', to: 'alice@localhost' });
    setup.source.identity = () => 'both';
    const looking = [setup.lookUp(there), setup.lookUp(back)];
    setup.source.asked[0]?.answer({ ...allow, reverse: { verdict: 'deny' } });
    expect((await Promise.all(looking)).map(({ decision }) => decision.verdict)).toEqual(['allow', 'deny']);
    expect(setup.source.asked).toHaveLength(1);
    expect([setup.recall(there), setup.recall(back)]).toEqual(['allow', 'deny']);
  });

  const scoped: [Answer['scope'], Record<string, unknown>, boolean][] = [
    ['pair', { from: 'alice@localhost/other' }, true],
    ['pair', { to: 'carol@localhost' }, false],
    ['pair', { from: 'bob@localhost', to: 'alice@localhost' }, false],
    ['pair', { type: 'groupchat' }, false],
    ['pair', { hook: 'route' }, false],
    ['pair', { kind: 'presence' }, false],
    ['pair-full', { from: 'alice@localhost/other' }, false],
    ['pair-full', {}, true],
    ['sender', { to: 'carol@localhost' }, true],
    ['sender', { from: 'carol@localhost' }, false],
    ['room', {}, false],
    ['none', {}, false],
  ];
  it.each(scoped)('a decision of scope %s is remembered for %j: %s', async (scope, fields, remembered) => {
    const setup = setUp();
    await decided(setup, stanzaQuestion(), { ...deny, scope });
    expect(setup.recall(stanzaQuestion(fields))).toBe(remembered ? 'deny' : undefined);
  });

  it('a decision about a room is for this user, this room, this event and whether it is made', async () => {
    const setup = setUp();
    await decided(setup, joinQuestion(), { ...deny, scope: 'room' });
    expect(setup.recall(joinQuestion({ nick: 'Other', user: 'alice@localhost/desk' }))).toBe('deny');
    expect(setup.recall(joinQuestion({ room: 'other@rooms.localhost' }))).toBeUndefined();
    expect(setup.recall(joinQuestion({ event: 'nick-change' }))).toBeUndefined();
    expect(setup.recall(joinQuestion({ creating: true }))).toBeUndefined();
    setup.order.hear({ room: 'lobby@rooms.localhost' });
    expect(setup.recall(joinQuestion())).toBeUndefined();
  });

  it('an exact decision is remembered by what the source would be asked, and hooks are told none', async () => {
    const setup = setUp();
    const looking = setup.lookUp(stanzaQuestion());
    setup.source.asked[0]?.answer({ ...deny, scope: 'exact' });
    expect((await looking).scope).toBe('none');
    expect(setup.decisions.recall(stanzaQuestion({ type: 'normal' }), setup.route)?.scope).toBe('none');
  });

  it('a source with replicas is not remembered for as long as they may lag behind a change that touches the question', async () => {
    const setup = setUp();
    setup.source.lagMs = 500;
    setup.order.hear({ user: 'alice@localhost' });
    setup.clock.advance(500);
    await decided(setup, stanzaQuestion(), allow);
    expect(setup.recall(stanzaQuestion())).toBeUndefined();
    await decided(setup, stanzaQuestion({ from: 'carol@localhost/x' }), allow);
    expect(setup.recall(stanzaQuestion({ from: 'carol@localhost/x' }))).toBe('allow');
    setup.clock.advance(1);
    await decided(setup, stanzaQuestion(), deny);
    expect(setup.recall(stanzaQuestion())).toBe('deny');
  });

  it('the least used decision makes room when the bound is reached', async () => {
    const setup = setUp({ max: 2 });
    for (const to of ['a@localhost', 'b@localhost', 'c@localhost']) await decided(setup, stanzaQuestion({ to }), allow);
    expect(setup.decisions.memory.size).toBe(2);
    expect(setup.recall(stanzaQuestion({ to: 'a@localhost' }))).toBeUndefined();
    expect(setup.recall(stanzaQuestion({ to: 'c@localhost' }))).toBe('allow');
    expect(setup.decisions.memory.counts.evictions).toBe(1);
  });

  describe('with a stream that numbers the changes', () => {
    async function setUpNumbered() {
      const setup = setUp();
      setup.order.connected('numbered');
      setup.order.apply(100, undefined);
      setup.proof.acknowledge(100, setup.clock.now());
      await decided(setup, stanzaQuestion(), deny);
      return setup;
    }

    it('nothing is served when the last proof is older than the bound, and again after the next', async () => {
      const setup = await setUpNumbered();
      setup.clock.advance(2_000);
      expect(setup.recall(stanzaQuestion())).toBe('deny');
      setup.clock.advance(1);
      expect(setup.recall(stanzaQuestion())).toBeUndefined();
      setup.order.apply(101, undefined);
      setup.proof.acknowledge(101, setup.clock.now());
      expect(setup.recall(stanzaQuestion())).toBe('deny');
    });

    it('where the operator puts up with it, what is not proved is served for a while longer, and said to be degraded', async () => {
      const setup = await setUpNumbered();
      const route = { ...setup.route, unprovedMs: 1_000 };
      setup.clock.advance(3_000);
      expect(setup.decisions.recall(stanzaQuestion(), route)).toMatchObject({ isUnproved: true });
      setup.clock.advance(1);
      expect(setup.decisions.recall(stanzaQuestion(), route)).toBeUndefined();
      expect(setup.decisions.unproved).toBe(2);
    });

    it('nothing is stored between a new connection and the first number', async () => {
      const setup = await setUpNumbered();
      setup.order.connected('numbered');
      await decided(setup, stanzaQuestion(), allow);
      setup.order.apply(101, undefined);
      setup.proof.acknowledge(101, setup.clock.now());
      expect(setup.recall(stanzaQuestion())).toBeUndefined();
    });

    it('who knows of a later change than the worker is not served from memory', async () => {
      const setup = await setUpNumbered();
      expect(setup.recall(stanzaQuestion({ min_seq: 100 }))).toBe('deny');
      expect(setup.recall(stanzaQuestion({ min_seq: 101 }))).toBeUndefined();
    });

    it('a lookup for who knows more is good for what he knows, if the stream has acknowledged it', async () => {
      const setup = await setUpNumbered();
      setup.order.acknowledge(105);
      await decided(setup, stanzaQuestion({ min_seq: 103 }), allow);
      expect(setup.decisions.recall(stanzaQuestion({ min_seq: 103 }), setup.route)?.floor).toBe(103);
      await decided(setup, stanzaQuestion({ min_seq: 999 }), allow);
      expect(setup.decisions.recall(stanzaQuestion(), setup.route)?.floor).toBe(105);
    });

    it('a lookup in flight is joined only by those who know no more than it does', async () => {
      const setup = await setUpNumbered();
      setup.order.acknowledge(101);
      const to = 'carol@localhost';
      void setup.lookUp(stanzaQuestion({ to }));
      const joining = setup.lookUp(stanzaQuestion({ to, min_seq: 100 }));
      const other = setup.lookUp(stanzaQuestion({ to, min_seq: 101 }));
      expect(setup.source.asked).toHaveLength(3);
      for (const { answer } of setup.source.asked) answer(allow);
      expect((await joining).floor).toBe(100);
      expect((await other).floor).toBe(101);
    });

    it('a lookup in flight for longer than the bound is joined by nobody', async () => {
      const setup = await setUpNumbered();
      const to = 'carol@localhost';
      void setup.lookUp(stanzaQuestion({ to }));
      setup.clock.advance(2_001);
      void setup.lookUp(stanzaQuestion({ to }));
      expect(setup.source.asked).toHaveLength(3);
    });

    it('an answer is proved as of the beginning of its lookup', async () => {
      const setup = await setUpNumbered();
      const provedAtMs = setup.clock.now();
      const looking = setup.lookUp(stanzaQuestion({ to: 'carol@localhost' }));
      setup.clock.advance(500);
      setup.order.apply(101, undefined);
      setup.proof.acknowledge(101, setup.clock.now());
      setup.source.asked.at(-1)?.answer(allow);
      expect(await looking).toMatchObject({ floor: 100, provedAtMs });
    });
  });
});
