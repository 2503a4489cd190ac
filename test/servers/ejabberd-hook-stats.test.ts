/** What the hook of a real ejabberd reports to real workers. */
import { reportOnce } from './behaviours/hook-stats.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

reportOnce(ejabberdKind);
