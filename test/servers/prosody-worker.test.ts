/** The whole way from the clients of a real Prosody to the operator's services. */
import { goTheWholeWay } from './behaviours/worker.ts';
import { prosodyRosters } from './roster-kind.ts';

goTheWholeWay(prosodyRosters);
