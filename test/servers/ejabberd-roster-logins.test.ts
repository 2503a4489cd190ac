/** Logins at a real ejabberd that are broken off while the roster is asked for. */
import { breakOffLogins } from './behaviours/roster-logins.ts';
import { ejabberdRosters } from './roster-kind.ts';

breakOffLogins(ejabberdRosters);
