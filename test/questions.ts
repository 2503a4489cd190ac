/** Questions as the wire hands them on, for tests that begin behind it. */
import type { Question, RosterChange } from '../src/sources/source.ts';
import { decodeRequest } from '../src/wire/codec.ts';
import {
  joinCheckRequest,
  rosterSetRequest,
  rosterSubscriptionRequest,
  sessionCheckRequest,
  stanzaCheckRequest,
} from '../src/wire/requests.ts';

const envelope = { v: 1, id: '0123456789abcdef01234567', server: 'node@test', budget_ms: 250 };

export function stanzaQuestion(fields: Record<string, unknown> = {}): Question & { operation: 'stanza-check' } {
  const request = decodeRequest(stanzaCheckRequest, {
    ...envelope,
    hook: 'send',
    from: 'alice@localhost/phone',
    to: 'bob@localhost',
    kind: 'message',
    type: 'chat',
    stanza: '<message xmlns="jabber:client" from="alice@localhost/phone" to="bob@localhost"><body>hi</body></message>',
    ...fields,
  });
  return { operation: 'stanza-check', request };
}

export function joinQuestion(fields: Record<string, unknown> = {}): Question & { operation: 'join-check' } {
  const request = decodeRequest(joinCheckRequest, {
    ...envelope,
    user: 'alice@localhost/phone',
    room: 'lobby@rooms.localhost',
    nick: 'Alice',
    ...fields,
  });
  return { operation: 'join-check', request };
}

export function sessionQuestion(fields: Record<string, unknown> = {}): Question & { operation: 'session-check' } {
  const request = decodeRequest(sessionCheckRequest, { ...envelope, user: 'alice@localhost/phone', ...fields });
  return { operation: 'session-check', request };
}

export function contactChange(fields: Record<string, unknown> = {}): RosterChange & { operation: 'roster-set' } {
  const request = decodeRequest(rosterSetRequest, {
    ...envelope,
    user: 'alice@localhost',
    contact: 'bob@localhost',
    ...fields,
  });
  return { operation: 'roster-set', request };
}

export function subscriptionChange(
  fields: Record<string, unknown> = {},
): RosterChange & { operation: 'roster-subscription' } {
  const request = decodeRequest(rosterSubscriptionRequest, {
    ...envelope,
    user: 'alice@localhost',
    contact: 'bob@localhost',
    direction: 'out',
    action: 'subscribe',
    ...fields,
  });
  return { operation: 'roster-subscription', request };
}
