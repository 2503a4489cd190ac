/** Whom a rule means: `*`, `*@domain`, `user@domain`, or `domain` for the server itself. */
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import type { Jid } from '../wire/jid.ts';

/** A pattern in its normal form. @throws InvalidJid */
export function parsePattern(text: string): string {
  if (text === '*') return text;
  const everyone = text.startsWith('*@');
  const { bare } = parseBareJid(everyone ? text.slice(2) : text);
  if (bare.includes('*') || (everyone && bare.includes('@'))) {
    throw new InvalidJid(
      `${JSON.stringify(text)} has a * where none can be; "*" is everyone, "*@example.org" everyone there`,
    );
  }
  return everyone ? `*@${bare}` : bare;
}

/** Whether a pattern in its normal form means this JID, whatever its resource. */
export function matches(pattern: string, jid: Jid): boolean {
  if (pattern === '*' || pattern === jid.bare) return true;
  return jid.node !== '' && pattern === `*@${jid.domain}`;
}
