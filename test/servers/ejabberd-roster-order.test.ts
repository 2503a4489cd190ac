/** Which answer a roster ends with, at a real ejabberd. */
import { orderRosters } from './behaviours/roster-order.ts';
import { ejabberdRosters } from './roster-kind.ts';

orderRosters(ejabberdRosters);
