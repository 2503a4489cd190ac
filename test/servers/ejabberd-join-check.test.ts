/** Who enters a room of a real ejabberd; and the ways in that other servers do not have. */
import { checkJoins } from './behaviours/join-check.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkJoins(ejabberdKind);
