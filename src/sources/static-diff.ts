/** What a new policy changes: as few and as narrow changes as say it, never `all`, which is the administrator's. */
import { isDeepStrictEqual } from 'node:util';
import type { Change } from '../changes.ts';
import type { Policy } from './static-schema.ts';

/** More than these are one change of the whole operation. */
const maxNamed = 32;

export function changesBetween(before: Policy, after: Policy): Change[] {
  const changes: Change[] = [];
  if (!isDeepStrictEqual(before.stanzas, after.stanzas)) changes.push({ operation: 'stanza-check' });
  changes.push(...roomChanges(before.rooms, after.rooms));
  if (!isDeepStrictEqual(before.sessions, after.sessions)) changes.push({ operation: 'session-check' });
  const users = differingKeys(before.rosters, after.rosters);
  if (users.length > maxNamed) changes.push({ operation: 'roster-refresh' });
  else changes.push(...users.map((user) => ({ user })));
  return changes;
}

function roomChanges(before: Policy['rooms'], after: Policy['rooms']): Change[] {
  if (isDeepStrictEqual(before, after)) return [];
  const names =
    before && after && before.default === after.default ? differingKeys(before.list, after.list) : undefined;
  const narrow = names !== undefined && names.length <= maxNamed && names.every((name) => !name.startsWith('*'));
  return narrow ? names.map((room) => ({ room })) : [{ operation: 'join-check' }];
}

function differingKeys(before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): string[] {
  const keys = new Set([...before.keys(), ...after.keys()]);
  return [...keys].filter((key) => !isDeepStrictEqual(before.get(key), after.get(key)));
}
