/** What becomes of deleted accounts at a real Prosody. */
import { tellRemovals } from './behaviours/user-removed.ts';
import { prosodyKind } from './prosody-kind.ts';

tellRemovals(prosodyKind);
