/**
 * The map: one row an operation. From the subject's tail to the schema of its request to the check that answers it;
 * `git grep` for a slug shows the rest.
 */
import type { z } from 'zod';
import type { Ask, Parts } from './checks/ask.ts';
import { checkJoin } from './checks/join-check.ts';
import { refreshRosters } from './checks/roster-refresh.ts';
import { checkSession } from './checks/session-check.ts';
import { checkStanza } from './checks/stanza-check.ts';
import { removeUser } from './checks/user-removed.ts';
import type { Operation } from './wire/operation.ts';
import type { Reply } from './wire/replies.ts';
import * as requests from './wire/requests.ts';
import type { Envelope, RequestForm } from './wire/requests.ts';

export interface Row {
  readonly form: RequestForm<z.ZodType, Envelope>;
  /** Answers what `form` has read, at once or later. May throw or reject with a `Failure`. */
  check(request: Envelope, ask: Ask, parts: Parts): Reply | Promise<Reply>;
}

/** Whose types fit each other here may be any row afterwards: nobody but `form` makes what `check` gets. */
function row<Fields extends z.ZodType, Request extends Envelope>(
  form: RequestForm<Fields, Request>,
  check: (request: Request, ask: Ask, parts: Parts) => Reply | Promise<Reply>,
): Row {
  return { form, check };
}

export const operations: { readonly [O in Operation]: Row } = {
  'stanza-check': row(requests.stanzaCheckRequest, checkStanza),
  'join-check': row(requests.joinCheckRequest, checkJoin),
  'session-check': row(requests.sessionCheckRequest, checkSession),
  'roster-refresh': row(requests.rosterRefreshRequest, refreshRosters),
  'user-removed': row(requests.userRemovedRequest, removeUser),
};
