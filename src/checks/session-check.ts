/** May this session open? */
import type { DecisionReply } from '../wire/replies.ts';
import type { SessionCheck } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { decide } from './decide.ts';

export function checkSession(request: SessionCheck, ask: Ask, parts: Parts): DecisionReply | Promise<DecisionReply> {
  return decide({ operation: 'session-check', request }, request.user.domain, ask, parts);
}
