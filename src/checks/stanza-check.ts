/** May this stanza pass? The asker's own side is the sender for what is sent here, the recipient for all else. */
import type { Jid } from '../wire/jid.ts';
import type { DecisionReply } from '../wire/replies.ts';
import type { StanzaCheck } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { decide } from './decide.ts';

export function checkStanza(request: StanzaCheck, ask: Ask, parts: Parts): DecisionReply | Promise<DecisionReply> {
  return decide({ operation: 'stanza-check', request }, ownSideOf(request).domain, ask, parts);
}

/** Whose domain chooses the source. */
export function ownSideOf({ hook, from, to }: StanzaCheck): Jid {
  return hook === 'send' ? from : to;
}
