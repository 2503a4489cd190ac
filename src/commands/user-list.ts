/** Whom a command is about: users on the command line, and lists of them in files. */
import { readFileSync } from 'node:fs';
import { InvalidJid } from '../wire/jid.ts';
import { parseUser } from '../wire/user-name.ts';
import { UsageProblem } from './usage-problem.ts';

export interface UserList {
  /** Bare JIDs, each once. */
  readonly users: readonly string[];
  /** Why not, by what stood in the file. */
  readonly unusable: Readonly<Record<string, string>>;
}

/**
 * One user a line; empty lines and what follows a # at the beginning of a line do not count.
 * @param path a file, or - for standard input
 * @throws UsageProblem when it cannot be read
 */
export function readUserFile(path: string): string[] {
  try {
    const text = readFileSync(path === '-' ? 0 : path, 'utf8');
    return text
      .replace(/^\ufeff/, '')
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'));
  } catch (error) {
    throw new UsageProblem(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Who was given by hand must be right, or nothing is done; of a list of thousands the wrong ones must not cost the others.
 * @param host completes user names
 * @throws UsageProblem that says what would be right
 */
export function userList(given: readonly string[], listed: readonly string[], host: string | undefined): UserList {
  const users = new Set<string>();
  const unusable: Record<string, string> = {};
  for (const [texts, isGiven] of [
    [given, true],
    [listed, false],
  ] as const) {
    for (const text of texts) {
      const user = read(text, host);
      if ('bare' in user) users.add(user.bare);
      else if (isGiven) throw new UsageProblem(user.problem);
      else unusable[text] = user.problem;
    }
  }
  return { users: [...users], unusable };
}

function read(text: string, host: string | undefined): { bare: string } | { problem: string } {
  if (host === undefined && !text.includes('@')) {
    return { problem: `${JSON.stringify(text)} names no host; write user@domain, or give --host` };
  }
  try {
    return parseUser(text, host);
  } catch (error) {
    if (error instanceof InvalidJid) return { problem: error.message };
    throw error;
  }
}
