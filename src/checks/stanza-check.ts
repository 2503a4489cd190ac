/** May this stanza pass? The asker's own side is the sender for what is sent here, the recipient for all else. */
import type { DecisionReply } from '../wire/replies.ts';
import type { StanzaCheck } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { decide } from './decide.ts';

export function checkStanza(request: StanzaCheck, ask: Ask, parts: Parts): DecisionReply | Promise<DecisionReply> {
  const own = request.hook === 'send' ? request.from : request.to;
  return decide({ operation: 'stanza-check', request }, own.domain, ask, parts);
}
