/** What is seen when a roster changes while its user is online at a real ejabberd. */
import { followRosters } from './behaviours/roster-live.ts';
import { ejabberdRosters } from './roster-kind.ts';

followRosters(ejabberdRosters);
