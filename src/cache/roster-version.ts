/** The version of a roster: a hash of its content. */
import { createHash } from 'node:crypto';
import type { Roster } from '../wire/replies.ts';

/** The same content has the same version, whatever order the source lists it in (RFC 6121 section 2.6). */
export function versionOf(items: Roster['items'], pending: Roster['pending']): string {
  const contacts = items
    .map((item) => [item.jid, item.name ?? '', item.subscription, item.ask ?? '', ...item.groups.toSorted()])
    .map((fields) => JSON.stringify(fields))
    .toSorted();
  const requests = pending.map(({ jid, text }) => JSON.stringify([jid, text ?? ''])).toSorted();
  return createHash('sha256')
    .update(contacts.join('\n'))
    .update('\n\n')
    .update(requests.join('\n'))
    .digest('base64url')
    .slice(0, 22);
}
