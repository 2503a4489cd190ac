/** Rosters that the worker holds, served by a real ejabberd. */
import { serveRosters } from './behaviours/roster.ts';
import { ejabberdRosters } from './roster-kind.ts';

serveRosters(ejabberdRosters);
