/** What becomes of a message in a real ejabberd. */
import { checkStanzas } from './behaviours/stanza-check.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkStanzas(ejabberdKind);
