import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { Decisions } from '../../src/cache/decisions.ts';
import { ChangeOrder } from '../../src/cache/order.ts';
import { Proof } from '../../src/cache/proof.ts';
import { RecentChanges } from '../../src/cache/recent.ts';
import { Rosters } from '../../src/cache/rosters.ts';
import { Routes } from '../../src/cache/routes.ts';
import type { Change } from '../../src/changes.ts';
import type { Ask, Parts } from '../../src/checks/ask.ts';
import { setContact } from '../../src/checks/roster-set.ts';
import { changeSubscription } from '../../src/checks/roster-subscription.ts';
import { monotonicClock as clock } from '../../src/clock.ts';
import { parseConfig } from '../../src/config/load.ts';
import { createConstantSources } from '../../src/sources/constant.ts';
import { SourceUnavailable } from '../../src/sources/source.ts';
import type { Decision, DecisionReply } from '../../src/wire/replies.ts';
import { HeldSource } from '../held-source.ts';
import { contactChange, subscriptionChange } from '../questions.ts';

const patientMs = 60_000;
const seen = 1_789_000_000_000;

interface Scene {
  readonly source: HeldSource;
  readonly parts: Parts;
  /** What was published; acknowledged with a number when the test says so. */
  readonly published: { change: Change; reason: string; acknowledge: (sequence: number) => void }[];
  untilPublished(count: number): Promise<void>;
  set(fields?: Record<string, unknown>, budgetMs?: number): Promise<DecisionReply>;
  subscribe(fields?: Record<string, unknown>, budgetMs?: number): Promise<DecisionReply>;
}

function scene(operations = '{ roster-set: { sources: app }, roster-subscription: { sources: app } }'): Scene {
  const source = new HeldSource();
  const yaml = `operations: ${operations}\nsources: { app: { type: http, url: "http://127.0.0.1:1/" } }`;
  const order = new ChangeOrder();
  order.connected('numbered');
  order.apply(seen, undefined);
  const proof = new Proof(order, clock, 2_000);
  const freshness = { order, proof, recent: new RecentChanges(order, clock, 0), clock };
  const published: Scene['published'] = [];
  let wake = (): void => undefined;
  const parts: Parts = {
    routes: new Routes(parseConfig(yaml, 'w.yaml', {}).operations, createConstantSources().set('app', source)),
    decisions: new Decisions(10, freshness),
    rosters: new Rosters(10, freshness),
    order,
    proof,
    clock,
    log: pino({ level: 'silent' }),
    stopping: new AbortController().signal,
    publish: (change, reason) =>
      new Promise((acknowledge) => {
        published.push({ change, reason, acknowledge });
        wake();
      }),
  };
  const ask = (budgetMs: number): Ask => ({ askedAtMs: clock.now(), deadlineMs: clock.now() + budgetMs });
  return {
    source,
    parts,
    published,
    async untilPublished(count) {
      while (published.length < count) await new Promise<void>((resolve) => (wake = resolve));
    },
    set: (fields, budgetMs = patientMs) => setContact(contactChange(fields).request, ask(budgetMs), parts),
    subscribe: (fields, budgetMs = patientMs) =>
      changeSubscription(subscriptionChange(fields).request, ask(budgetMs), parts),
  };
}

async function answered(stage: Scene, asking: Promise<DecisionReply>, decision: Decision): Promise<DecisionReply> {
  await stage.source.untilAsked(1);
  stage.source.told[0]?.answer(decision);
  return asking;
}

function countsOf({ parts }: Scene, operation: 'roster-set' | 'roster-subscription') {
  return parts.routes.of(operation, 'localhost')?.counts;
}

describe('a change of a roster', () => {
  it('is refused where nothing is configured, and nobody is told', async () => {
    const stage = scene('{}');
    expect(await stage.set()).toMatchObject({ verdict: 'deny', reason: 'the source deny', seq: seen });
    expect(await stage.subscribe()).toMatchObject({ verdict: 'deny', ttl_ms: 0, scope: 'none' });
    expect(stage.published).toEqual([]);
    expect(countsOf(stage, 'roster-set')?.decided).toMatchObject({ deny: 1, allow: 0 });
  });

  it('that is allowed by configuration changes nothing that others would have to hear of', async () => {
    const stage = scene('{ roster-set: { sources: allow }, roster-subscription: { sources: allow } }');
    expect(await stage.set()).toMatchObject({ verdict: 'allow', seq: seen });
    expect(await stage.subscribe()).toMatchObject({ verdict: 'allow', seq: seen });
    expect(stage.published).toEqual([]);
  });

  it('is told as it was asked, once', async () => {
    const stage = scene();
    const asking = stage.set({ id: 'the-key', name: 'Bob' });
    expect(await answered(stage, asking, { verdict: 'deny' })).toMatchObject({ id: 'the-key', verdict: 'deny' });
    expect(stage.source.told.map(({ question }) => question)).toEqual([contactChange({ id: 'the-key', name: 'Bob' })]);
  });

  it.each(['deny', 'drop', 'defer'] as const)(
    'that the application answers with %s is not published',
    async (verdict) => {
      const stage = scene();
      expect(await answered(stage, stage.set(), { verdict })).toMatchObject({ verdict, seq: seen });
      expect(stage.published).toEqual([]);
      expect(countsOf(stage, 'roster-set')?.decided[verdict]).toBe(1);
    },
  );

  it.each<Decision>([{ verdict: 'allow' }, { verdict: 'modify', item: { name: 'Robert', groups: ['Staff'] } }])(
    'that the application has stored is answered with the number of the change: $verdict',
    async (decision) => {
      const stage = scene();
      const asking = answered(stage, stage.set(), decision);
      await stage.untilPublished(1);
      stage.published[0]?.acknowledge(seen + 7);
      expect(await asking).toMatchObject({ ...decision, seq: seen + 7, ttl_ms: 0, scope: 'none' });
      expect(stage.published).toMatchObject([{ change: { user: 'alice@localhost' }, reason: 'roster-set' }]);
    },
  );

  it('that is a subscription is published for both sides; who has seen the number has seen both', async () => {
    const stage = scene();
    const asking = answered(stage, stage.subscribe({ direction: 'in' }), { verdict: 'allow' });
    await stage.untilPublished(2);
    expect(stage.published.map(({ change }) => change)).toEqual([
      { user: 'alice@localhost' },
      { user: 'bob@localhost' },
    ]);
    stage.published[1]?.acknowledge(seen + 2);
    stage.published[0]?.acknowledge(seen + 3);
    expect(await asking).toMatchObject({ verdict: 'allow', seq: seen + 3 });
  });

  it('that the application has stored is no failure when nothing is acknowledged in time', async () => {
    const stage = scene();
    const asking = answered(stage, stage.set({}, 200), { verdict: 'allow' });
    await stage.untilPublished(1);
    expect(await asking).toMatchObject({ verdict: 'allow', seq: seen });
    expect(await asking).not.toHaveProperty('degraded');
    expect(countsOf(stage, 'roster-set')).toMatchObject({ decided: { allow: 1 } });
  });

  it('that the application stores after the asker has gone is published all the same', async () => {
    const stage = scene();
    await expect(stage.set({}, 50)).rejects.toMatchObject({ kind: 'source-unavailable' });
    expect(stage.published).toEqual([]);
    stage.source.told[0]?.answer({ verdict: 'allow' });
    await stage.untilPublished(1);
    expect(stage.published).toMatchObject([{ change: { user: 'alice@localhost' } }]);
  });

  it.each(['allow', 'deny', 'defer'] as const)('gets the fallback %s where the application fails', async (fallback) => {
    const app = `{ fallback: ${fallback}, sources: app }`;
    const stage = scene(`{ roster-set: ${app}, roster-subscription: ${app} }`);
    const asking = stage.subscribe();
    await stage.source.untilAsked(1);
    stage.source.told[0]?.fail(new SourceUnavailable('unreachable', 'gone'));
    expect(await asking).toMatchObject({ verdict: fallback, degraded: 'source-unavailable', seq: seen });
    expect(stage.published).toEqual([]);
    expect(countsOf(stage, 'roster-subscription')).toMatchObject({ degraded: { [fallback]: 1 } });
  });

  it('fails where the application does and no fallback is configured', async () => {
    const stage = scene();
    const asking = stage.set();
    await stage.source.untilAsked(1);
    stage.source.told[0]?.fail(new SourceUnavailable('bad-answer', 'rubbish'));
    await expect(asking).rejects.toMatchObject({ kind: 'source-unavailable' });
  });

  it("goes to the source of the user's domain, whatever the contact's", async () => {
    const stage = scene('{ roster-set: { sources: { a.example: app, b.example: allow } } }');
    expect(await stage.set({ user: 'x@b.example', contact: 'y@a.example' })).toMatchObject({ verdict: 'allow' });
    expect(await stage.set({ user: 'x@c.example', contact: 'y@a.example' })).toMatchObject({ verdict: 'deny' });
    expect(stage.source.told).toEqual([]);
    const asking = stage.set({ user: 'x@a.example', contact: 'y@b.example' });
    expect(await answered(stage, asking, { verdict: 'deny' })).toMatchObject({ verdict: 'deny' });
  });
});
