/** Who gets a session of a real Prosody. */
import { checkSessions } from './behaviours/session-check.ts';
import { prosodyKind } from './prosody-kind.ts';

checkSessions(prosodyKind);
