/** What a real ejabberd does when there is no answer, or none that is one. */
import { failSafely } from './behaviours/failures.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

failSafely(ejabberdKind);
