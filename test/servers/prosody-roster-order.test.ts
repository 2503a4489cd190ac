/** Which answer a roster ends with, at a real Prosody. */
import { orderRosters } from './behaviours/roster-order.ts';
import { prosodyRosters } from './roster-kind.ts';

orderRosters(prosodyRosters);
