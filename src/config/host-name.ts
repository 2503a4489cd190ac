/** A host of the XMPP cluster, as it stands in JIDs. */
import { z } from 'zod';
import { InvalidJid, parseJid } from '../wire/jid.ts';

const wanted = 'must be a host of the XMPP servers, such as example.org';

/** In its normal form. */
export const hostName = z.string(wanted).transform((text, context) => {
  try {
    const { full, domain } = parseJid(text);
    if (full === domain) return domain;
  } catch (error) {
    if (!(error instanceof InvalidJid)) throw error;
  }
  context.issues.push({ code: 'custom', message: wanted, input: text });
  return z.NEVER;
});
