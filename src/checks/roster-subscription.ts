/** May this subscription be asked for, granted or ended? It stands in the rosters of both sides. */
import type { DecisionReply } from '../wire/replies.ts';
import type { RosterSubscription } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { changeRoster } from './roster-change.ts';

export function changeSubscription(request: RosterSubscription, ask: Ask, parts: Parts): Promise<DecisionReply> {
  const { user, contact } = request;
  return changeRoster({ operation: 'roster-subscription', request }, [user.bare, contact.bare], ask, parts);
}
