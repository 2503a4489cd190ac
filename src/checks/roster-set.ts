/** May this contact be added, changed or removed? Only the user's own roster is another afterwards. */
import type { DecisionReply } from '../wire/replies.ts';
import type { RosterSet } from '../wire/requests.ts';
import type { Ask, Parts } from './ask.ts';
import { changeRoster } from './roster-change.ts';

export function setContact(request: RosterSet, ask: Ask, parts: Parts): Promise<DecisionReply> {
  return changeRoster({ operation: 'roster-set', request }, [request.user.bare], ask, parts);
}
