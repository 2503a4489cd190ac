/** What clients change at two nodes of ejabberd, from end to end: clients, servers, broker, workers, application. */
import { writeBack } from './behaviours/roster-write-back.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

writeBack(ejabberdKind);
