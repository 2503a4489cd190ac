/** One request and what became of it, as it is told to who watches: without what people have written to each other. */
import { ownSideOf } from '../checks/stanza-check.ts';
import type { Jid } from '../wire/jid.ts';
import type { Operation } from '../wire/operation.ts';
import type { DecisionReply, Reply } from '../wire/replies.ts';
import type { JoinCheck, RosterRefresh, RosterSet, SessionCheck, StanzaCheck, UserRemoved } from '../wire/requests.ts';
import type { Outcome, WatchedDecision, WatchFilter } from '../wire/watch.ts';
import type { Answered } from './serve.ts';

/** What is told of one decision, without who tells whom. */
export type Told = Omit<WatchedDecision, 'v' | 'worker' | 'at' | 'for'>;

/** What people write, what is long, and what only the two ends of the request need. */
const untold: ReadonlySet<string> = new Set(['id', 'budget_ms', 'min_seq', 'traceparent', 'stanza', 'text', 'groups']);
const maxUsers = 20;
const maxReason = 1_024;

export function toldOf(answered: Answered, source: string | undefined): Told {
  const { operation, request, reply, tookMs } = answered;
  const fields = request === undefined ? undefined : fieldsOf(request as object);
  const common = {
    operation,
    ...(fields && { request: fields }),
    verdict: outcomeOf(reply),
    ...(source !== undefined && { source }),
    remembered: isRemembered(answered),
    took_ms: Number(tookMs.toFixed(3)),
  };
  if (typeof reply === 'string') return { ...common, failure: reply };
  const reason = reasonOf(reply).slice(0, maxReason);
  return {
    ...common,
    ...('degraded' in reply && reply.degraded !== undefined && { degraded: reply.degraded }),
    ...(reason !== '' && { reason }),
  };
}

export function outcomeOf(reply: Answered['reply']): Outcome {
  if (typeof reply === 'string') return 'failed';
  if ('verdict' in reply) return reply.verdict;
  return 'rosters' in reply && reply.errors > 0 ? 'errors' : 'ok';
}

/** The domain whose source answers; '' where the request could not be read. */
export function domainOf(operation: Operation, request: unknown): string {
  if (request === undefined) return '';
  switch (operation) {
    case 'stanza-check':
      return ownSideOf(request as StanzaCheck).domain;
    case 'join-check':
      return (request as JoinCheck).room.domain;
    case 'roster-refresh':
      return (request as RosterRefresh).users[0]?.split('@')[1] ?? '';
    default:
      return (request as SessionCheck | UserRemoved | RosterSet).user.domain;
  }
}

/** Whether who watches with this filter is to be told. */
export function isWatched(filter: WatchFilter, { operation, request, reply }: Answered): boolean {
  if (filter.operation !== undefined && !filter.operation.includes(operation)) return false;
  if (filter.verdict !== undefined && !filter.verdict.includes(outcomeOf(reply))) return false;
  if (filter.degraded === true && !isDegraded(reply)) return false;
  const { jid, room } = filter;
  if (jid === undefined && room === undefined) return true;
  if (request === undefined) return false;
  if (room !== undefined && !roomsOf(operation, request).some(({ bare }) => bare === room.bare)) return false;
  return jid === undefined || isSide(jid, operation, request);
}

function isDegraded(reply: Answered['reply']): boolean {
  return typeof reply !== 'string' && 'degraded' in reply && reply.degraded !== undefined;
}

function roomsOf(operation: Operation, request: unknown): readonly Jid[] {
  if (operation === 'join-check') return [(request as JoinCheck).room];
  if (operation === 'stanza-check') return [(request as StanzaCheck).from, (request as StanzaCheck).to];
  return [];
}

function isSide(wanted: Jid, operation: Operation, request: unknown): boolean {
  if (operation === 'roster-refresh') {
    const { users } = request as RosterRefresh;
    return wanted.node === '' ? users.some((user) => user.endsWith(`@${wanted.domain}`)) : users.includes(wanted.full);
  }
  return Object.values(request as object).some((side: unknown) => isJid(side) && fits(wanted, side));
}

function fits(wanted: Jid, side: Jid): boolean {
  if (wanted.resource !== '') return side.full === wanted.full;
  return wanted.node === '' ? side.domain === wanted.domain : side.bare === wanted.bare;
}

function isJid(value: unknown): value is Jid {
  return typeof value === 'object' && value !== null && 'full' in value;
}

function fieldsOf(request: object): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(request) as [string, unknown][]) {
    if (untold.has(key) || value === undefined || value === false || value === '') continue;
    if (key === 'users' && Array.isArray(value)) {
      fields['users'] = value.slice(0, maxUsers);
      fields['users_total'] = value.length;
    } else fields[key] = isJid(value) ? value.full : value;
  }
  return fields;
}

/** Answered at once, by what was decided before. */
function isRemembered({ isAtOnce, reply }: Answered): boolean {
  if (!isAtOnce || typeof reply === 'string' || !('verdict' in reply)) return false;
  return reply.ttl_ms > 0 || reply.degraded === 'expired';
}

function reasonOf(reply: Reply): string {
  if ('verdict' in reply) return decisionReason(reply);
  if (!('rosters' in reply)) return '';
  return Object.entries(reply.failed)
    .slice(0, maxUsers)
    .map(([user, why]) => `${user}: ${why}`)
    .join('; ');
}

function decisionReason({ reason, error }: DecisionReply): string {
  return reason ?? error?.text ?? error?.condition ?? '';
}
