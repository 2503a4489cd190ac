/** The whole way from the clients of a real ejabberd to the operator's services. */
import { goTheWholeWay } from './behaviours/worker.ts';
import { ejabberdRosters } from './roster-kind.ts';

goTheWholeWay(ejabberdRosters);
