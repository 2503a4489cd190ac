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

export interface Row<S extends z.ZodType = z.ZodType> {
  readonly request: S;
  /** Answers at once or later. May throw or reject with a `Failure`. */
  readonly check: (request: z.output<S>, ask: Ask, parts: Parts) => Reply | Promise<Reply>;
}

function row<S extends z.ZodType>(request: S, check: Row<S>['check']): Row<S> {
  return { request, check };
}

export const operations = {
  'stanza-check': row(requests.stanzaCheckRequest, checkStanza),
  'join-check': row(requests.joinCheckRequest, checkJoin),
  'session-check': row(requests.sessionCheckRequest, checkSession),
  'roster-refresh': row(requests.rosterRefreshRequest, refreshRosters),
  'user-removed': row(requests.userRemovedRequest, removeUser),
} satisfies { [O in Operation]: unknown };
