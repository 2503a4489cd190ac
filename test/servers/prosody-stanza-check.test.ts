/** What becomes of a message in a real Prosody. */
import { checkStanzas } from './behaviours/stanza-check.ts';
import { prosodyKind } from './prosody-kind.ts';

checkStanzas(prosodyKind);
