/** What becomes of deleted accounts at a real ejabberd. */
import { tellRemovals } from './behaviours/user-removed.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

tellRemovals(ejabberdKind);
