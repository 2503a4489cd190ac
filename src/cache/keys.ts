/**
 * What a decision is remembered under, by its scope, and what it falls under when something changes. The key is the
 * same for worker and hook: operation, hook, kind and type (for joins event and creating), and the JIDs of the scope.
 */
import type { Answer, Question } from '../sources/source.ts';
import type { Route } from './routes.ts';
import type { Subject } from './stamps.ts';

/** Cannot stand in a JID: every stringprep profile of XMPP prohibits control characters (RFC 3454 C.2.1). */
const separator = '\0';

/**
 * The key of a question within a scope; undefined where the scope has no meaning for the operation, or is `none`.
 */
export function keyOf(question: Question, scope: Answer['scope'], route: Route): string | undefined {
  if (scope === 'none') return undefined;
  const { source } = route;
  if (scope === 'exact') {
    const identity = source.identity?.(question);
    return identity === undefined ? undefined : [source.name, scope, question.operation, identity].join(separator);
  }
  const jids = jidsOf(question, scope);
  return jids === undefined ? undefined : source.name + separator + scope + separator + tagOf(question) + jids;
}

/** The key for the same pair in the other direction. */
export function reverseKeyOf(question: Question, scope: Answer['scope'], route: Route): string | undefined {
  if (question.operation !== 'stanza-check' || scope === 'exact') return undefined;
  const { request } = question;
  return keyOf({ ...question, request: { ...request, from: request.to, to: request.from } }, scope, route);
}

export function subjectOf(question: Question): Subject {
  const { operation, request } = question;
  if (operation === 'stanza-check') {
    const { from, to } = request;
    return { operation, jids: [from.bare, to.bare], domains: [from.domain, to.domain] };
  }
  const { user } = request;
  if (operation === 'session-check') return { operation, jids: [user.bare], domains: [user.domain] };
  return { operation, jids: [user.bare, request.room.bare], domains: [user.domain, request.room.domain] };
}

function tagOf(question: Question): string {
  switch (question.operation) {
    case 'stanza-check': {
      const { hook, kind, type } = question.request;
      return `s${separator}${hook}${separator}${kind}${separator}${type}${separator}`;
    }
    case 'join-check':
      return `j${separator}${question.request.event}${separator}${question.request.creating ? '1' : '0'}${separator}`;
    case 'session-check':
      return `o${separator}`;
  }
}

function jidsOf(question: Question, scope: Exclude<Answer['scope'], 'none' | 'exact'>): string | undefined {
  if (question.operation === 'stanza-check') {
    const { from, to } = question.request;
    if (scope === 'pair') return from.bare + separator + to.bare;
    if (scope === 'pair-full') return from.full + separator + to.full;
    return scope === 'sender' ? from.bare : undefined;
  }
  const { user } = question.request;
  if (scope === 'sender') return user.bare;
  if (question.operation === 'session-check') return undefined;
  const { room } = question.request;
  return (scope === 'pair-full' ? user.full : user.bare) + separator + room.bare;
}
