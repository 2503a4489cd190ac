/**
 * The way of whatever changes a roster: the application is told once, its answer decides, and who remembers something
 * of these rosters hears of it. What is particular to an operation stands in its own file.
 */
import type { Route } from '../cache/routes.ts';
import type { Change } from '../changes.ts';
import { Failure } from '../failures.ts';
import { SourceUnavailable } from '../sources/source.ts';
import type { RosterChange } from '../sources/source.ts';
import type { Decision, DecisionReply } from '../wire/replies.ts';
import type { Ask, Parts } from './ask.ts';
import { beforeDeadline, inTimeMs } from './deadline.ts';
import { freshnessOf } from './freshness.ts';
import { failureKindOf, logUnavailable } from './unavailable.ts';

/**
 * Tells the source of the user's domain. `touched` are the users whose rosters are others when it agrees.
 *
 * All that has begun goes on when the budget is over. An application that agrees too late has stored the change, so it
 * is published all the same; the asker has had the fallback by then, and learns the truth with the roster. Only a worker
 * that stops abandons what nobody waits for any more.
 * @throws Failure `source-unavailable` when neither the source nor a fallback answers, `overloaded` when too many wait
 */
export async function changeRoster(
  change: RosterChange,
  touched: readonly string[],
  ask: Ask,
  parts: Parts,
): Promise<DecisionReply> {
  const { operation, request } = change;
  const { id, user } = request;
  const { clock, order, proof } = parts;
  const route = parts.routes.of(operation, user.domain);
  if (route === undefined) {
    throw new Failure('source-unavailable', `no source is configured for ${operation} of ${user.domain}`);
  }
  const telling = tell(change, route, ask, parts);
  const publishing = telling.then((decision) => publish(decision, touched, change, route, parts));
  const answered = (decision: Decision, floor: number): DecisionReply => ({
    v: 1,
    id,
    ...freshnessOf({ floor, provedAtMs: proof.provedAtMs }, order, ask.askedAtMs),
    ...decision,
    ttl_ms: 0,
    scope: 'none',
  });
  // Whatever becomes of it is said where it is waited for; nobody may be waiting any more.
  publishing.catch(() => undefined);
  try {
    const decision = await beforeDeadline(telling, ask.deadlineMs, clock);
    route.counts.decided[decision.verdict] += 1;
    return answered(decision, await floorOf(publishing, ask, parts));
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) throw error;
    logUnavailable(error, route, parts);
    const fallback = fallbackOf(route);
    if (fallback === undefined) throw new Failure(failureKindOf(error), error.message, { cause: error });
    route.counts.degraded[fallback.verdict] += 1;
    return { ...answered(fallback, order.seen), degraded: failureKindOf(error) };
  }
}

/** What still waits for a place when nobody would hear the answer is not told at all. */
async function tell(change: RosterChange, { source }: Route, ask: Ask, parts: Parts): Promise<Decision> {
  if (source.rosterChange === undefined) throw new Error(`${source.name} (${source.type}) can be told nothing`);
  const untilMs = inTimeMs(ask.deadlineMs, parts.clock.now());
  const { traceparent } = change.request;
  return source.rosterChange(change, { signal: parts.stopping, traceparent, waitedForUntilMs: () => untilMs });
}

/** The number after which everybody knows; undefined where nothing has changed. */
async function publish(
  { verdict }: Decision,
  touched: readonly string[],
  { operation }: RosterChange,
  { source }: Route,
  parts: Parts,
): Promise<number | undefined> {
  if (source.isConstant || (verdict !== 'allow' && verdict !== 'modify')) return undefined;
  const changes = touched.map((user): Change => ({ user }));
  const numbers = changes.map(async (change) => {
    try {
      return await parts.publish(change, operation, parts.stopping);
    } catch (error) {
      parts.log.warn({ change, detail: String(error) }, 'change not published');
      throw error;
    }
  });
  return Math.max(...(await Promise.all(numbers)));
}

/**
 * What the answer knows: the number of the change that was just made. While the stream acknowledges nothing (it elects a
 * leader) the application has agreed all the same, and a fallback in place of its answer would be a lie: the answer is
 * given with what this worker has seen. Publishing goes on until it is acknowledged, and its number then makes every
 * hook ask for these rosters.
 */
async function floorOf(publishing: Promise<number | undefined>, ask: Ask, parts: Parts): Promise<number> {
  const { clock, order } = parts;
  try {
    return (await beforeDeadline(publishing, ask.deadlineMs, clock)) ?? order.seen;
  } catch {
    return order.seen;
  }
}

function fallbackOf({ fallback, source }: Route): Decision | undefined {
  return fallback === 'fail' || fallback === 'stale'
    ? undefined
    : { verdict: fallback, reason: `fallback of ${source.name}` };
}
