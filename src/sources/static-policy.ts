/**
 * What a static policy answers. In each section: a deny that matches wins over an allow, an allow over the default; the
 * order of the rules says nothing. A section that the file does not have denies nobody.
 */
import { pathText } from '../config/problems.ts';
import type { Jid } from '../wire/jid.ts';
import { stanzaConditions } from '../wire/replies.ts';
import type { Decision, StanzaCondition, StanzaError } from '../wire/replies.ts';
import type { JoinCheck, SessionCheck, StanzaCheck } from '../wire/requests.ts';
import { rosterOf } from './contacts.ts';
import { matches } from './jid-pattern.ts';
import type { Answer, Question, RosterAnswer } from './source.ts';
import type { Denial, Policy } from './static-schema.ts';

/** The answer, with the rule that gave it as the reason: `stanzas.deny[1]`. */
export function answerOf(policy: Policy, question: Question): Answer {
  switch (question.operation) {
    case 'stanza-check':
      return { decision: stanzaDecision(policy.stanzas, question.request), scope: 'pair' };
    case 'join-check':
      return { decision: joinDecision(policy.rooms, question.request), scope: 'room' };
    case 'session-check':
      return { decision: sessionDecision(policy.sessions, question.request), scope: 'sender' };
  }
}

/** A user that the file does not list has an empty roster. */
export function rosterIn(policy: Policy, user: Jid): RosterAnswer {
  return rosterOf(user, policy.rosters.get(user.bare) ?? []);
}

/** All that an answer depends on, so that equal questions are asked once. */
export function identityOf({ operation, request }: Question): string {
  if (operation === 'stanza-check') return `${request.from.bare}\0${request.to.bare}\0${request.kind}`;
  return operation === 'join-check' ? `${request.user.bare}\0${request.room.bare}` : request.user.bare;
}

function stanzaDecision(stanzas: Policy['stanzas'], { from, to, kind }: StanzaCheck): Decision {
  if (stanzas === undefined) return { verdict: 'allow', reason: 'no stanzas in the policy' };
  const fits = (rule: (typeof stanzas.allow)[number]) =>
    (rule.kinds?.includes(kind) ?? true) &&
    (rule.from?.some((pattern) => matches(pattern, from)) ?? true) &&
    (rule.to?.some((pattern) => matches(pattern, to)) ?? true);
  const denied = stanzas.deny.findIndex(fits);
  const rule = stanzas.deny[denied];
  const reason = pathText(['stanzas', 'deny', denied]);
  if (rule?.silent === true) return { verdict: 'drop', reason };
  if (rule !== undefined) return denial(reason, rule, 'not-allowed');
  return allowedOr(stanzas, 'stanzas', stanzas.allow.findIndex(fits));
}

function sessionDecision(sessions: Policy['sessions'], { user }: SessionCheck): Decision {
  if (sessions === undefined) return { verdict: 'allow', reason: 'no sessions in the policy' };
  const denied = sessions.deny.findIndex((rule) => matches(rule.user, user));
  const rule = sessions.deny[denied];
  if (rule !== undefined) return denial(pathText(['sessions', 'deny', denied]), rule, 'not-allowed');
  return allowedOr(
    sessions,
    'sessions',
    sessions.allow.findIndex((pattern) => matches(pattern, user)),
  );
}

/** A room is looked for by its own name, then by `*@` its domain, then by `*`. */
function joinDecision(rooms: Policy['rooms'], { user, room }: JoinCheck): Decision {
  if (rooms === undefined) return { verdict: 'allow', reason: 'no rooms in the policy' };
  const name = [room.bare, `*@${room.domain}`, '*'].find((pattern) => rooms.list.has(pattern)) ?? '';
  const listed = rooms.list.get(name);
  if (listed === undefined) return { verdict: rooms.default, reason: 'rooms.default' };
  const isUser = (pattern: string) => matches(pattern, user);
  const denied = listed.deny.findIndex(isUser);
  if (denied !== -1) return denial(pathText(['rooms', 'list', name, 'deny', denied]), listed, 'forbidden');
  const allowed = listed.allow.findIndex(isUser);
  const reason = pathText(['rooms', 'list', name, 'allow']);
  if (allowed === -1) return denial(`not in ${reason}`, listed, 'forbidden');
  return { verdict: 'allow', reason: `${reason}[${allowed}]` };
}

function allowedOr(section: { default: 'allow' | 'deny' }, name: string, allowed: number): Decision {
  if (allowed !== -1) return { verdict: 'allow', reason: pathText([name, 'allow', allowed]) };
  return { verdict: section.default, reason: `${name}.default` };
}

/** A rule that says nothing about the error leaves it to the operation's default. */
function denial(reason: string, { condition, type, text }: Denial, usual: StanzaCondition): Decision {
  if (condition === undefined && type === undefined && text === undefined) return { verdict: 'deny', reason };
  const named = condition ?? usual;
  const error: Partial<StanzaError> = { type: type ?? stanzaConditions[named], condition: named };
  return { verdict: 'deny', error: text === undefined ? error : { ...error, text }, reason };
}
