/** The hooks and kinds of a real Prosody that are off unless configured. */
import { checkAtEachHook } from './behaviours/stanza-hooks.ts';
import { prosodyKind } from './prosody-kind.ts';

checkAtEachHook(prosodyKind);
