/**
 * The way of every check: find the source, remember or ask, and when the source fails take the configured fallback.
 * What is particular to an operation stands in its own file.
 */
import type { Known } from '../cache/decisions.ts';
import type { Route } from '../cache/routes.ts';
import { Failure } from '../failures.ts';
import { SourceUnavailable } from '../sources/source.ts';
import type { Question } from '../sources/source.ts';
import type { Decision, DecisionReply } from '../wire/replies.ts';
import type { Ask, Parts } from './ask.ts';
import { beforeDeadline, inTimeMs } from './deadline.ts';
import { freshnessOf } from './freshness.ts';
import { failureKindOf, logUnavailable } from './unavailable.ts';

/**
 * Decides, at once when the decision is remembered.
 * @throws Failure `source-unavailable` when nothing and no fallback answers, `overloaded` when the source was not asked
 *   because too many are waiting for it, `stanza-required` when the source needs it.
 */
export function decide(
  question: Question,
  domain: string,
  ask: Ask,
  parts: Parts,
): DecisionReply | Promise<DecisionReply> {
  const { operation, request } = question;
  const route = parts.routes.of(operation, domain);
  if (route === undefined) {
    throw new Failure('source-unavailable', `no source is configured for ${operation} of ${domain}`);
  }
  const unchecked = route.source.unchecked?.(question);
  if (unchecked !== undefined) {
    const decision: Decision = { verdict: 'allow', reason: unchecked };
    return reply(
      question,
      route,
      { decision, scope: 'none', ...now(parts), expiresAtMs: 0, isUnproved: false },
      ask,
      parts,
    );
  }
  const known = parts.decisions.recall(question, route);
  if (known !== undefined) {
    route.counts.remembered += 1;
    return reply(question, route, known, ask, parts);
  }
  if (operation === 'stanza-check' && request.stanza === undefined && !request.stanza_omitted) {
    if (route.source.needsStanza?.(question) === true)
      throw new Failure('stanza-required', 'the source needs the stanza');
  }
  return lookUp(question, route, ask, parts);
}

async function lookUp(question: Question, route: Route, ask: Ask, parts: Parts): Promise<DecisionReply> {
  const { traceparent } = question.request;
  const untilMs = inTimeMs(ask.deadlineMs, parts.clock.now());
  const call = { signal: parts.stopping, traceparent, waitedForUntilMs: () => untilMs };
  try {
    const flight = parts.decisions.lookUp(question, route, call);
    return reply(question, route, await beforeDeadline(flight, ask.deadlineMs, parts.clock), ask, parts);
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) throw error;
    logUnavailable(error, route, parts);
    const fallback = fallbackOf(question, route, parts);
    if (fallback === undefined) throw new Failure(failureKindOf(error), error.message, { cause: error });
    route.counts.degraded[fallback.verdict] += 1;
    const { id } = question.request;
    return {
      v: 1,
      id,
      ...freshnessOf(now(parts), parts.order, ask.askedAtMs),
      ...fallback,
      ttl_ms: 0,
      scope: 'none',
      degraded: failureKindOf(error),
    };
  }
}

function fallbackOf(question: Question, route: Route, parts: Parts): Decision | undefined {
  switch (route.fallback) {
    case 'fail':
      return undefined;
    case 'stale':
      return parts.decisions.recallExpired(question, route);
    case 'allow':
    case 'deny':
    case 'defer':
      return { verdict: route.fallback, reason: `fallback of ${route.source.name}` };
  }
}

function reply(question: Question, route: Route, known: Known, ask: Ask, parts: Parts): DecisionReply {
  const { decision, isUnproved } = known;
  route.counts[isUnproved ? 'degraded' : 'decided'][decision.verdict] += 1;
  const ttl_ms = isUnproved ? 0 : Math.max(0, Math.floor(known.expiresAtMs - parts.clock.now()));
  const { seq, age_ms } = freshnessOf(known, parts.order, ask.askedAtMs);
  // No spread of the decision: into a literal with other fields it costs more than all the rest of the request.
  const answer: DecisionReply = {
    v: 1,
    id: question.request.id,
    seq,
    age_ms,
    verdict: decision.verdict,
    ttl_ms,
    scope: ttl_ms > 0 ? known.scope : 'none',
  };
  // The proof has expired; of the kinds of failures it is that one.
  if (isUnproved) answer.degraded = 'expired';
  if (decision.error !== undefined) answer.error = decision.error;
  if (decision.notify !== undefined) answer.notify = decision.notify;
  if (decision.stanza !== undefined) answer.stanza = decision.stanza;
  if (decision.reason !== undefined) answer.reason = decision.reason;
  return answer;
}

/** For what no lookup made: as fresh as the worker is. */
function now({ order, proof }: Parts) {
  return { floor: order.seen, provedAtMs: proof.provedAtMs };
}
