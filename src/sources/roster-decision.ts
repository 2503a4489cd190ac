/**
 * What a source has answered to a change of a roster, as a decision that may be passed on: only what has a meaning for
 * such a change, and nothing that XML has no form for.
 */
import type { Decision } from '../wire/replies.ts';
import { groupsOf } from './contacts.ts';
import type { Contact } from './contacts.ts';
import { checkError } from './decision-xml.ts';
import { SourceUnavailable } from './source.ts';
import type { RosterChange } from './source.ts';
import { isXmlText } from './xml-text.ts';

/** What the source said. Of the item what it does not name stays as it was asked for. */
export interface RosterVerdict extends Pick<Decision, 'verdict' | 'error' | 'reason'> {
  readonly item?: Pick<Contact, 'name' | 'groups'> | undefined;
}

/** @throws SourceUnavailable with `bad-answer` */
export function rosterDecision({ verdict, error, reason, item }: RosterVerdict, change: RosterChange): Decision {
  checkError(error);
  const decision: Decision = { verdict };
  if (error !== undefined) decision.error = error;
  if (reason !== undefined) decision.reason = reason;
  if (verdict === 'modify') decision.item = modifiedItem(item, change);
  return decision;
}

/** RFC 6121 section 2.1.2: an item without a name has none, and it may stand in no group. */
function modifiedItem(item: RosterVerdict['item'], { operation, request }: RosterChange): Decision['item'] {
  if (operation !== 'roster-set') throw bad(`modify is no answer to ${operation}`);
  if (request.remove) throw bad('modify is no answer to the removal of a contact');
  if (item?.name === undefined && item?.groups === undefined) {
    throw bad('modify comes with no item that has a name or groups');
  }
  const name = item.name ?? request.name;
  const groups = item.groups === undefined ? request.groups : groupsOf(item.groups);
  if (![name ?? '', ...groups].every(isXmlText)) throw bad('item has a text with characters that XML forbids');
  return name === undefined || name === '' ? { groups } : { name, groups };
}

function bad(detail: string): SourceUnavailable {
  return new SourceUnavailable('bad-answer', detail);
}
