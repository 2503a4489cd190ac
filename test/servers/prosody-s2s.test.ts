/** What arrives at a real Prosody from another one. */
import { checkAcrossServers } from './behaviours/s2s.ts';
import { prosodyKind } from './prosody-kind.ts';

checkAcrossServers(prosodyKind);
