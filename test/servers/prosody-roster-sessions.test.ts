/** Rosters while sessions come and go at a real Prosody. */
import { keepRostersOfSessions } from './behaviours/roster-sessions.ts';
import { prosodyRosters } from './roster-kind.ts';

keepRostersOfSessions(prosodyRosters);
