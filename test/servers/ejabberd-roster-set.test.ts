/** What clients change in their contact lists at a real ejabberd. */
import { setContacts } from './behaviours/roster-set.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

setContacts(ejabberdKind);
