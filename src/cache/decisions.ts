/** Decisions remembered and decisions looked up: the only way from a check to a source. */
import type { Clock } from '../clock.ts';
import type { Answer, Call, Question } from '../sources/source.ts';
import type { Decision, Scope } from '../wire/replies.ts';
import { Flights } from './flights.ts';
import { keyOf, reverseKeyOf, subjectOf } from './keys.ts';
import { Memory } from './memory.ts';
import type { ChangeOrder } from './order.ts';
import type { Route } from './routes.ts';

/** A decision with what an asker must know to remember it. */
export interface Known {
  readonly decision: Decision;
  readonly scope: Scope;
  /** The sequence that the decision knows. */
  readonly floor: number;
  readonly expiresAtMs: number;
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
  readonly #order: ChangeOrder;
  readonly #clock: Clock;

  constructor(maxEntries: number, order: ChangeOrder, clock: Clock) {
    this.memory = new Memory(maxEntries, order);
    this.flights = new Flights(order, clock);
    this.#order = order;
    this.#clock = clock;
  }

  /** What is remembered and may be served. */
  recall(question: Question, route: Route): Known | undefined {
    const nowMs = this.#clock.now();
    for (const scope of route.scopesSeen) {
      const key = keyOf(question, scope, route);
      const entry = key === undefined ? undefined : this.memory.recall(key, question, subjectOf, nowMs);
      if (entry !== undefined) {
        this.memory.counts.hits += 1;
        const { decision, scope: known } = entry.value;
        return { decision, scope: known, floor: this.#order.seen, expiresAtMs: entry.expiresAtMs };
      }
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
  async lookUp(question: Question, route: Route, minSeq: number, call: Call): Promise<Known> {
    const { source } = route;
    const decide = source.decide?.bind(source);
    if (decide === undefined) throw new Error(`${source.name} (${source.type}) decides nothing`);
    const identity = `${source.name}\0${question.operation}\0${source.identity?.(question) ?? question.request.id}`;
    const { value, floor, beganAtMs } = await this.flights.fly(identity, subjectOf(question), minSeq, async () => ({
      answer: await decide(question, call),
      asked: question,
    }));
    const { answer, asked } = value;
    const expiresAtMs = beganAtMs + (answer.ttlMs ?? route.ttlMs);
    const scope = answer.scope === 'exact' ? 'none' : answer.scope;
    const decision = sameDirection(asked, question) ? answer.decision : (answer.reverse ?? answer.decision);
    if (asked === question) this.#remember(question, route, answer, { scope, floor, expiresAtMs });
    return { decision, scope, floor, expiresAtMs };
  }

  #remember(question: Question, route: Route, answer: Answer, known: Omit<Known, 'decision'>): void {
    const key = keyOf(question, answer.scope, route);
    if (key === undefined || known.expiresAtMs <= this.#clock.now()) return;
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
