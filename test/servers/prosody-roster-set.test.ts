/** What clients change in their contact lists at a real Prosody. */
import { setContacts } from './behaviours/roster-set.ts';
import { prosodyKind } from './prosody-kind.ts';

setContacts(prosodyKind);
