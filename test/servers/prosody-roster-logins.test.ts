/** Logins at a real Prosody that are broken off while the roster is asked for. */
import { breakOffLogins } from './behaviours/roster-logins.ts';
import { prosodyRosters } from './roster-kind.ts';

breakOffLogins(prosodyRosters);
