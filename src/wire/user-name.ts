/** Users as applications and people name them: a bare JID, or the part before the @ where the host goes without saying. */
import { InvalidJid, parseBareJid } from './jid.ts';
import type { Jid } from './jid.ts';

/**
 * @param host completes what has no @; in its normal form
 * @throws InvalidJid that says what would be right
 */
export function parseUser(text: string, host: string | undefined): Jid {
  if (text.includes('@')) return parseBareJid(text);
  const quoted = JSON.stringify(text.slice(0, 80));
  if (text === '' || text.includes('/')) throw new InvalidJid(`${quoted} is no user; write user@domain`);
  if (host === undefined) {
    throw new InvalidJid(
      `${quoted} names no host; write user@domain, or configure roster.default_host where user names are pushed`,
    );
  }
  return parseBareJid(`${text}@${host}`);
}
