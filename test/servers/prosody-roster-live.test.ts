/** What is seen when a roster changes while its user is online at a real Prosody. */
import { followRosters } from './behaviours/roster-live.ts';
import { prosodyRosters } from './roster-kind.ts';

followRosters(prosodyRosters);
