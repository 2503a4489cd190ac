/** The whole way from the clients of a real ejabberd to the operator's services. */
import { goTheWholeWay } from './behaviours/worker.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

goTheWholeWay(ejabberdKind);
