/**
 * What an invalidation costs while a million decisions are remembered, and what these weigh. A process of its own, so
 * that its memory is theirs: `node --expose-gc flush.js`. Prints one line of JSON.
 */
import { Decisions } from '../src/cache/decisions.ts';
import { ChangeOrder } from '../src/cache/order.ts';
import { RecentChanges } from '../src/cache/recent.ts';
import { Proof } from '../src/cache/proof.ts';
import type { Route } from '../src/cache/routes.ts';
import type { Change } from '../src/changes.ts';
import { monotonicClock } from '../src/clock.ts';
import type { Question, Source } from '../src/sources/source.ts';
import { parseJid } from '../src/wire/jid.ts';
import { quantile } from './stopwatch.ts';

const decisionCount = 1_000_000;
/** Of so many of them one user is on the other side. */
const popularCount = 100_000;
const popular = 'popular@example.org';
const repeats = 1_000;
const ttlMs = 3_600_000;

/** Microseconds. */
export interface Cost {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

export interface FlushResult {
  readonly remembered: number;
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly fillSeconds: number;
  readonly costs: Record<
    'hit' | 'applyOne' | 'missOne' | 'applyMany' | 'missMany' | 'hearOne' | 'hearMany' | 'hitAfter' | 'applyAll',
    Cost
  >;
}

const zero = () => ({ allow: 0, deny: 0, drop: 0, modify: 0, defer: 0 });
const source: Source = {
  name: 'bench',
  type: 'bench',
  // What JSON.parse would make of an answer: an object and a text of its own each time.
  decide: (question) =>
    Promise.resolve({ decision: { verdict: 'allow', reason: `for ${question.request.id}` }, scope: 'pair' }),
  stop: () => Promise.resolve(),
};
const route: Route = {
  operation: 'stanza-check',
  source,
  ttlMs,
  fallback: 'fail',
  unprovedMs: 0,
  scopesSeen: [],
  counts: { decided: zero(), degraded: zero(), remembered: 0 },
};

/** The first ones are to the popular user, all others to somebody who stands in no other. */
function questionOf(index: number): Question {
  const to = index < popularCount ? popular : `friend${index}@example.org`;
  return {
    operation: 'stanza-check',
    request: {
      id: `question-${index}`,
      server: 'bench',
      budget_ms: 250,
      min_seq: 0,
      traceparent: undefined,
      hook: 'send',
      from: parseJid(`user${index % popularCount}@example.org/phone`),
      to: parseJid(to),
      kind: 'message',
      type: 'chat',
      stanza: undefined,
      stanza_omitted: false,
    },
  };
}

function timesOf(count: number, run: (index: number) => void): Cost {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const begun = process.hrtime.bigint();
    run(index);
    times.push(Number(process.hrtime.bigint() - begun) / 1e3);
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), most: quantile(times, 1) };
}

function memory(): NodeJS.MemoryUsage {
  global.gc?.();
  return process.memoryUsage();
}

const order = new ChangeOrder();
const proof = new Proof(order, monotonicClock, ttlMs);
let sequence = Date.now();
order.connected('numbered');
order.apply(sequence, undefined);
proof.acknowledge(sequence, monotonicClock.now());
const decisions = new Decisions(decisionCount, {
  order,
  proof,
  recent: new RecentChanges(order, monotonicClock, 0),
  clock: monotonicClock,
});

const before = memory();
const begun = monotonicClock.now();
const call = { signal: new AbortController().signal };
for (let index = 0; index < decisionCount; index += 1) await decisions.lookUp(questionOf(index), route, call);
const fillSeconds = (monotonicClock.now() - begun) / 1e3;
const after = memory();
const remembered = decisions.memory.size;

const next = (change: Change) => order.apply((sequence += 1), change);
const mustHit = (question: Question) => {
  if (decisions.recall(question, route) === undefined) throw new Error('what no change names was forgotten');
};
const mustMiss = (question: Question) => {
  if (decisions.recall(question, route) !== undefined) throw new Error('what a change names was served');
};
/** Users of one decision each, others for each row. */
const loners = (row: number) =>
  Array.from({ length: repeats }, (_, index) => questionOf(popularCount + (row * repeats + index) * 7));
const [hits, applied, heard, untouched] = [loners(0), loners(1), loners(2), loners(3)];
const admirers = Array.from({ length: repeats }, (_, index) => questionOf(index * 97));
const at = (questions: readonly Question[], index: number) => questions[index % repeats] ?? questionOf(0);
const recipientOf = (question: Question) =>
  question.operation === 'stanza-check' ? question.request.to.bare : question.request.user.bare;

const costs: FlushResult['costs'] = {
  hit: timesOf(repeats, (index) => mustHit(at(hits, index))),
  applyOne: timesOf(repeats, (index) => next({ user: recipientOf(at(applied, index)) })),
  missOne: timesOf(repeats, (index) => mustMiss(at(applied, index))),
  applyMany: timesOf(repeats, () => next({ user: popular })),
  missMany: timesOf(repeats, (index) => mustMiss(at(admirers, index))),
  hearOne: timesOf(repeats, (index) => order.hear({ user: recipientOf(at(heard, index)) })),
  hearMany: timesOf(repeats, () => order.hear({ user: popular })),
  hitAfter: timesOf(repeats, (index) => mustHit(at(untouched, index))),
  applyAll: timesOf(1, () => next({ all: true })),
};
for (const question of heard) mustMiss(question);
for (const question of untouched) mustMiss(question);

const result: FlushResult = {
  remembered,
  heapBytes: after.heapUsed - before.heapUsed,
  residentBytes: after.rss - before.rss,
  fillSeconds,
  costs,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
