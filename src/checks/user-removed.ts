/** An account is gone: the application is told, and nobody remembers anything of it. */
import { Failure } from '../failures.ts';
import { SourceUnavailable } from '../sources/source.ts';
import type { UserRemovedReply } from '../wire/replies.ts';
import type { UserRemoved } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { beforeDeadline } from './deadline.ts';
import { freshnessOf } from './freshness.ts';
import { logUnavailable } from './unavailable.ts';

/**
 * Goes on when the budget is over: what was not acknowledged is published again, and the application hears it then. A
 * hook that got no answer repeats the request under its id, which the application knows again; whoever forgets twice has
 * forgotten.
 * @throws Failure `source-unavailable`
 */
export async function removeUser(request: UserRemoved, ask: Ask, parts: Parts): Promise<UserRemovedReply> {
  const { id } = request;
  const { clock, order, proof } = parts;
  try {
    const floor = await beforeDeadline(remove(request, parts), ask.deadlineMs, clock);
    return { v: 1, id, ...freshnessOf({ floor, provedAtMs: proof.provedAtMs }, order, ask.askedAtMs), forgotten: true };
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) throw error;
    throw new Failure('source-unavailable', error.message, { cause: error });
  }
}

/**
 * Forgets first, so that an application that is down delays no freshness; and once more when it knows, as what it
 * answered until then was about an account that it believed to be there.
 * @returns the number of the last change
 */
async function remove({ user, id, traceparent }: UserRemoved, parts: Parts): Promise<number> {
  const { routes, stopping } = parts;
  const forget = () => parts.publish({ user: user.bare }, 'user-removed', stopping);
  const floor = await forget();
  const route = routes.of('user-removed', user.domain);
  if (route?.source.userRemoved === undefined) return floor;
  try {
    await route.source.userRemoved(user, id, { signal: stopping, traceparent });
  } catch (error) {
    if (error instanceof SourceUnavailable) logUnavailable(error, route, parts);
    throw error;
  }
  return forget();
}
