/** That no spelling of a JID gets around a policy in a real Prosody. */
import { spellJids } from './behaviours/spelling.ts';
import { prosodyKind } from './prosody-kind.ts';

spellJids(prosodyKind);
