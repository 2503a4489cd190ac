/** Who enters a room of a real ejabberd from elsewhere. */
import { checkJoinsFromElsewhere } from './behaviours/join-elsewhere.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkJoinsFromElsewhere(ejabberdKind);
