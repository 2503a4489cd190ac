/** Whose rosters are asked for: JIDs of users in their normal form, each once, and what is none with the reason. */
import { InvalidJid } from '../wire/jid.ts';
import type { Jid } from '../wire/jid.ts';
import { parseUser } from '../wire/user-name.ts';

export interface RosterUsers {
  readonly users: readonly Jid[];
  /** Why not, by what was given. */
  readonly unusable: ReadonlyMap<string, string>;
}

/** @param host completes user names; undefined: only bare JIDs are users */
export function readUsers(texts: Iterable<string>, host: string | undefined): RosterUsers {
  const users = new Map<string, Jid>();
  const unusable = new Map<string, string>();
  for (const text of texts) {
    try {
      const user = parseUser(text, host);
      users.set(user.bare, user);
    } catch (error) {
      if (!(error instanceof InvalidJid)) throw error;
      unusable.set(text, error.message);
    }
  }
  return { users: [...users.values()], unusable };
}
