/** What is never checked by a real Prosody. */
import { neverCheck } from './behaviours/never-checked.ts';
import { prosodyKind } from './prosody-kind.ts';

neverCheck(prosodyKind);
