/** An account is gone: the application is told, and nobody remembers anything of it. */
import { Failure } from '../failures.ts';
import { SourceUnavailable } from '../sources/source.ts';
import type { UserRemovedReply } from '../wire/replies.ts';
import type { UserRemoved } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { beforeDeadline } from './deadline.ts';
import { freshnessOf } from './freshness.ts';

/**
 * Forgets first, so that a source that is down delays no freshness. Both go on when the budget is over: what was not
 * acknowledged is published again, and the application hears it.
 * @throws Failure `source-unavailable`
 */
export async function removeUser(request: UserRemoved, ask: Ask, parts: Parts): Promise<UserRemovedReply> {
  const { user, id } = request;
  const { clock, order, proof, stopping } = parts;
  try {
    const publishing = parts.publish({ user: user.bare }, 'user-removed', stopping);
    const floor = await beforeDeadline(publishing, ask.deadlineMs, clock);
    await beforeDeadline(tellApplication(request, parts), ask.deadlineMs, clock);
    return { v: 1, id, ...freshnessOf({ floor, provedAtMs: proof.provedAtMs }, order, ask.askedAtMs), forgotten: true };
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) throw error;
    throw new Failure('source-unavailable', error.message, { cause: error });
  }
}

async function tellApplication({ user, id, traceparent }: UserRemoved, { routes, stopping }: Parts): Promise<void> {
  const source = routes.of('user-removed', user.domain)?.source;
  await source?.userRemoved?.(user, id, { signal: stopping, traceparent });
}
