/** What stands for `$1`, `$2`, …: the parameters that a statement names, from what it is about. */
import type { SqlParameter } from '../config/sql-source.ts';
import type { Jid } from '../wire/jid.ts';
import type { RosterChange } from './source.ts';

/** A text, a list of texts (`text[]`), or null for what is absent. */
export type SqlValues = { readonly [name in SqlParameter]?: string | readonly string[] | null };

export function ownerValues({ bare, node, domain }: Jid): SqlValues {
  return { jid: bare, user: node, host: domain };
}

export function changeValues({ operation, request }: RosterChange): SqlValues {
  const { user, contact, id } = request;
  const both = { ...ownerValues(user), contact: contact.bare, id };
  switch (operation) {
    case 'roster-set':
      return { ...both, name: request.name ?? null, groups: request.groups };
    case 'roster-subscription':
      return { ...both, direction: request.direction, action: request.action, text: request.text ?? null };
  }
}

/** The values in the order of the statement's places. */
export function inOrder(parameters: readonly SqlParameter[], values: SqlValues): unknown[] {
  return parameters.map((name) => values[name] ?? null);
}
