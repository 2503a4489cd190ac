/**
 * The map: one row an operation. From the subject's tail to the schemas of its request and its reply to the check that
 * answers it; `git grep` for a slug shows the rest.
 */
import type { z } from 'zod';
import type { Ask, Parts } from './checks/ask.ts';
import { checkJoin } from './checks/join-check.ts';
import { refreshRosters } from './checks/roster-refresh.ts';
import { setContact } from './checks/roster-set.ts';
import { changeSubscription } from './checks/roster-subscription.ts';
import { checkSession } from './checks/session-check.ts';
import { checkStanza } from './checks/stanza-check.ts';
import { removeUser } from './checks/user-removed.ts';
import type { Operation } from './wire/operation.ts';
import * as replies from './wire/replies.ts';
import type { Reply } from './wire/replies.ts';
import * as requests from './wire/requests.ts';
import type { Envelope, RequestForm } from './wire/requests.ts';

export interface Row {
  readonly form: RequestForm<z.ZodType, Envelope>;
  /** Says what `check` answers; nothing is checked against it on the way out. */
  readonly reply: z.ZodType<Reply>;
  /** Answers what `form` has read, at once or later. May throw or reject with a `Failure`. */
  check(request: Envelope, ask: Ask, parts: Parts): Reply | Promise<Reply>;
}

/** Whose types fit each other here may be any row afterwards: nobody but `form` makes what `check` gets. */
function row<Fields extends z.ZodType, Request extends Envelope, R extends Reply>(
  form: RequestForm<Fields, Request>,
  reply: z.ZodType<R>,
  check: (request: Request, ask: Ask, parts: Parts) => R | Promise<R>,
): Row {
  return { form, reply, check };
}

export const operations: { readonly [O in Operation]: Row } = {
  'stanza-check': row(requests.stanzaCheckRequest, replies.decisionReply, checkStanza),
  'join-check': row(requests.joinCheckRequest, replies.decisionReply, checkJoin),
  'session-check': row(requests.sessionCheckRequest, replies.decisionReply, checkSession),
  'roster-refresh': row(requests.rosterRefreshRequest, replies.rosterReply, refreshRosters),
  'roster-set': row(requests.rosterSetRequest, replies.decisionReply, setContact),
  'roster-subscription': row(requests.rosterSubscriptionRequest, replies.decisionReply, changeSubscription),
  'user-removed': row(requests.userRemovedRequest, replies.userRemovedReply, removeUser),
};
