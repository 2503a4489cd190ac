/** Rosters while sessions come and go at a real ejabberd. */
import { keepRostersOfSessions } from './behaviours/roster-sessions.ts';
import { ejabberdRosters } from './roster-kind.ts';

keepRostersOfSessions(ejabberdRosters);
