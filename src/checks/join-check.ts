/** May this user enter this room? The room's domain chooses the source: each MUC component has its own settings. */
import type { DecisionReply } from '../wire/replies.ts';
import type { JoinCheck } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { decide } from './decide.ts';

export function checkJoin(request: JoinCheck, ask: Ask, parts: Parts): DecisionReply | Promise<DecisionReply> {
  return decide({ operation: 'join-check', request }, request.room.domain, ask, parts);
}
