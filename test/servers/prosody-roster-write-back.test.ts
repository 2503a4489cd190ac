/** What clients change at two nodes of Prosody, from end to end: clients, servers, broker, workers, application. */
import { writeBack } from './behaviours/roster-write-back.ts';
import { prosodyKind } from './prosody-kind.ts';

writeBack(prosodyKind);
