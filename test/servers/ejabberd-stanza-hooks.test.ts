/** The hooks of a real ejabberd that are off unless configured. */
import { checkAtEachHook } from './behaviours/stanza-hooks.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkAtEachHook(ejabberdKind);
