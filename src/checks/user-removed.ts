/** An account is gone: the application is told, and nobody remembers anything of it. */
import { Failure } from '../failures.ts';
import { SourceUnavailable } from '../sources/source.ts';
import type { UserRemovedReply } from '../wire/replies.ts';
import type { UserRemoved } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { beforeDeadline } from './deadline.ts';
import { freshnessOf } from './freshness.ts';

/** Forgets first, so that a source that is down delays no freshness. @throws Failure `source-unavailable` */
export async function removeUser(request: UserRemoved, ask: Ask, parts: Parts): Promise<UserRemovedReply> {
  const { user, id, traceparent } = request;
  const sequence = await parts.publish({ user: user.bare }, 'user-removed');
  const source = parts.routes.of('user-removed', user.domain)?.source;
  if (source?.userRemoved !== undefined) {
    const telling = source.userRemoved(user, id, { signal: parts.stopping, traceparent });
    try {
      await beforeDeadline(telling, ask.deadlineMs, parts.clock);
    } catch (error) {
      if (!(error instanceof SourceUnavailable)) throw error;
      throw new Failure('source-unavailable', error.message, { cause: error });
    }
  }
  const known = { floor: sequence, provedAtMs: parts.proof.provedAtMs };
  return { v: 1, id, ...freshnessOf(known, parts.order, parts.clock), forgotten: true };
}
