/** Groups that come from the application, at a real ejabberd. */
import { groupContacts } from './behaviours/roster-groups.ts';
import { ejabberdRosters } from './roster-kind.ts';

groupContacts(ejabberdRosters);
