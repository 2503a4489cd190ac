/** Decisions remembered and decisions looked up: the only way from a check to a source. */
import type { Answer, Call, Question } from '../sources/source.ts';
import type { Decision, Scope } from '../wire/replies.ts';
import { Flights } from './flights.ts';
import type { Freshness } from './freshness.ts';
import { keyOf, reverseKeyOf, subjectOf } from './keys.ts';
import { Memory } from './memory.ts';
import type { Route } from './routes.ts';

/** A decision with what an asker must know to remember it. */
export interface Known {
  readonly decision: Decision;
  readonly scope: Scope;
  /** The sequence that the decision knows. */
  readonly floor: number;
  readonly expiresAtMs: number;
  /** As of when that is proved, on the monotonic clock. */
  readonly provedAtMs: number;
  /** Whether it is served beyond the staleness bound, as the operator has chosen: no real decision. */
  readonly isUnproved: boolean;
}

interface Remembered {
  readonly decision: Decision;
  readonly scope: Scope;
}

/** A flight's answer, with the question that took off: who asks in the other direction takes `reverse`. */
interface Flown {
  readonly answer: Answer;
  readonly asked: Question;
}

export class Decisions {
  readonly memory: Memory<Remembered>;
  readonly flights: Flights<Flown>;
  readonly #freshness: Freshness;
  /** Hits for which no proof of freshness was recent enough. */
  unproved = 0;

  constructor(maxEntries: number, freshness: Freshness) {
    this.memory = new Memory(maxEntries, freshness.order);
    this.flights = new Flights(freshness);
    this.#freshness = freshness;
  }

  /** What is remembered and may be served. */
  recall(question: Question, route: Route): Known | undefined {
    const { order, proof, clock } = this.#freshness;
    const nowMs = clock.now();
    const minSeq = question.request.min_seq;
    for (const scope of route.scopesSeen) {
      const key = keyOf(question, scope, route);
      const entry = key === undefined ? undefined : this.memory.recall(key, question, subjectOf, nowMs);
      if (entry === undefined) continue;
      // The asker knows of a change that has not arrived here: what is remembered may be what it ended.
      const floor = Math.max(entry.floor, order.seen);
      if (floor < minSeq) continue;
      const isUnproved = !proof.isRecent(nowMs);
      if (isUnproved) {
        this.unproved += 1;
        if (!proof.isRecent(nowMs, route.unprovedMs)) break;
      }
      this.memory.counts.hits += 1;
      const { decision, scope: known } = entry.value;
      const { expiresAtMs } = entry;
      return { decision, scope: known, floor, expiresAtMs, provedAtMs: proof.provedAtMs, isUnproved };
    }
    this.memory.counts.misses += 1;
    return undefined;
  }

  /** What is remembered although its TTL is over; never what was invalidated. */
  recallExpired(question: Question, route: Route): Decision | undefined {
    for (const scope of route.scopesSeen) {
      const key = keyOf(question, scope, route);
      const entry = key === undefined ? undefined : this.memory.recallExpired(key, question, subjectOf);
      if (entry !== undefined) return entry.value.decision;
    }
    return undefined;
  }

  /**
   * Asks the source, or joins who already does, and remembers the answer.
   * @throws SourceUnavailable
   */
  async lookUp(question: Question, route: Route, call: Call): Promise<Known> {
    const { source } = route;
    const decide = source.decide?.bind(source);
    if (decide === undefined) throw new Error(`${source.name} (${source.type}) decides nothing`);
    const identity = `${source.name}\0${question.operation}\0${source.identity?.(question) ?? question.request.id}`;
    const minSeq = question.request.min_seq;
    const landed = await this.flights.fly(identity, subjectOf(question), minSeq, call, async (flying) => ({
      answer: await decide(question, flying),
      asked: question,
    }));
    const { value, floor, beganAtMs, provedAtMs } = landed;
    const { answer, asked } = value;
    const isLagging = this.#freshness.recent.remainingMs(subjectOf(question), source.lagMs ?? 0) > 0;
    const expiresAtMs = beganAtMs + (isLagging ? 0 : (answer.ttlMs ?? route.ttlMs));
    const scope = answer.scope === 'exact' ? 'none' : answer.scope;
    const decision = sameDirection(asked, question) ? answer.decision : (answer.reverse ?? answer.decision);
    if (asked === question) this.#remember(question, route, answer, { scope, floor, expiresAtMs });
    return { decision, scope, floor, expiresAtMs, provedAtMs, isUnproved: false };
  }

  #remember(
    question: Question,
    route: Route,
    answer: Answer,
    known: Pick<Known, 'scope' | 'floor' | 'expiresAtMs'>,
  ): void {
    const key = keyOf(question, answer.scope, route);
    if (key === undefined || known.expiresAtMs <= this.#freshness.clock.now() || !this.#freshness.order.isSettled)
      return;
    if (!route.scopesSeen.includes(answer.scope)) route.scopesSeen.push(answer.scope);
    const { floor, expiresAtMs, scope } = known;
    this.memory.remember(key, { value: { decision: answer.decision, scope }, floor, expiresAtMs });
    const reverseKey = answer.reverse === undefined ? undefined : reverseKeyOf(question, answer.scope, route);
    if (reverseKey === undefined || answer.reverse === undefined) return;
    this.memory.remember(reverseKey, { value: { decision: answer.reverse, scope }, floor, expiresAtMs });
  }
}

function sameDirection(asked: Question, question: Question): boolean {
  if (asked.operation !== 'stanza-check' || question.operation !== 'stanza-check') return true;
  return asked.request.from.bare === question.request.from.bare;
}
