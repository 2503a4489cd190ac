/** That no spelling of a JID gets around a policy in a real ejabberd. */
import { spellJids } from './behaviours/spelling.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

spellJids(ejabberdKind);
