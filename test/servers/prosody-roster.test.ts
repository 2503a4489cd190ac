/** Rosters that the worker holds, served by a real Prosody. */
import { serveRosters } from './behaviours/roster.ts';
import { prosodyRosters } from './roster-kind.ts';

serveRosters(prosodyRosters);
