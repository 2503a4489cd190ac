/** Who gets a session of a real ejabberd. */
import { checkSessions } from './behaviours/session-check.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkSessions(ejabberdKind);
