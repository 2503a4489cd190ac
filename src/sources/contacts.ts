/**
 * From contacts as a source lists them to a roster: every JID in normal form and once, never the user. A contact that
 * cannot stand in a roster is left out and reported; the others are kept.
 */
import { z } from 'zod';
import { optional } from '../wire/fields.ts';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import type { Jid } from '../wire/jid.ts';
import type { RosterItem } from '../wire/replies.ts';
import type { RosterAnswer, RosterProblem } from './source.ts';
import { isXmlText } from './xml-text.ts';

/** The fields of a contact; groups as a list, or as the object that Lua and PHP use for a set. */
export const contactFields = {
  name: optional(z.string()),
  subscription: optional(z.string()),
  ask: optional(z.string()),
  groups: optional(z.union([z.array(z.string()), z.record(z.string(), z.boolean())])),
};

const contact = z.object(contactFields);
export type Contact = Partial<z.output<typeof contact>> & { readonly jid: string };

export interface PendingRequest {
  readonly jid: string;
  readonly text?: string | undefined;
}

const forbiddenText = 'has a text with characters that XML forbids';

const subscriptions: ReadonlySet<string> = new Set(['none', 'from', 'to', 'both']);

/** RFC 6121 section 2.1: absent `subscription` is `both` here, as with the module that this replaces. */
export function rosterOf(
  user: Jid,
  contacts: Iterable<Contact>,
  requests: Iterable<PendingRequest> = [],
): RosterAnswer {
  const problems: RosterProblem[] = [];
  const items: RosterItem[] = [];
  const pending: RosterAnswer['pending'] = [];
  const inRoster = new Once(user, problems);
  for (const one of contacts) {
    const problem = problemOf(one);
    if (problem !== undefined) problems.push({ jid: one.jid, problem });
    else inRoster.add(one.jid, (jid) => items.push(itemOf(jid, one)));
  }
  const waiting = new Once(user, problems);
  for (const { jid: text, text: message } of requests) {
    if (!isXmlText(message ?? '')) problems.push({ jid: text, problem: forbiddenText });
    else waiting.add(text, (jid) => pending.push(message === undefined ? { jid } : { jid, text: message }));
  }
  return { items, pending, problems };
}

function problemOf({ name, subscription, ask, groups }: Contact): string | undefined {
  if (subscription !== undefined && !subscriptions.has(subscription)) {
    return `subscription ${JSON.stringify(subscription)} is unknown; none, from, to and both are`;
  }
  if (ask !== undefined && ask !== 'subscribe') return `ask ${JSON.stringify(ask)} is unknown; subscribe is`;
  return [name ?? '', ...groupsOf(groups)].every(isXmlText) ? undefined : forbiddenText;
}

function itemOf(jid: string, { name, subscription, ask, groups }: Contact): RosterItem {
  return {
    jid,
    ...(name === undefined ? {} : { name }),
    subscription: (subscription ?? 'both') as RosterItem['subscription'],
    ...(ask === undefined ? {} : { ask: 'subscribe' as const }),
    groups: groupsOf(groups),
  };
}

/** Each group once; RFC 6121 section 2.1.2.6 has no empty ones. */
export function groupsOf(groups: Contact['groups']): string[] {
  const names = Array.isArray(groups)
    ? groups
    : Object.entries(groups ?? {}).flatMap(([name, member]) => (member ? [name] : []));
  return [...new Set(names)].filter((name) => name !== '');
}

/** Lets each JID through once, and not the user's own. */
class Once {
  readonly #user: Jid;
  readonly #problems: RosterProblem[];
  readonly #seen = new Set<string>();

  constructor(user: Jid, problems: RosterProblem[]) {
    this.#user = user;
    this.#problems = problems;
  }

  add(text: string, take: (jid: string) => void): void {
    try {
      const { bare } = parseBareJid(text);
      if (bare === this.#user.bare) this.#problems.push({ jid: text, problem: 'is the user himself' });
      else if (this.#seen.has(bare)) this.#problems.push({ jid: text, problem: `is listed before as ${bare}` });
      else {
        this.#seen.add(bare);
        take(bare);
      }
    } catch (error) {
      if (!(error instanceof InvalidJid)) throw error;
      this.#problems.push({ jid: text, problem: error.message });
    }
  }
}
