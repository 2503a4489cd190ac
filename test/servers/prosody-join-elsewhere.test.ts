/** Who enters a room of a real Prosody from elsewhere. */
import { checkJoinsFromElsewhere } from './behaviours/join-elsewhere.ts';
import { prosodyKind } from './prosody-kind.ts';

checkJoinsFromElsewhere(prosodyKind);
