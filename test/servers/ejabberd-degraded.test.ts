/** What clients of a real ejabberd get while the application, the workers or the broker fail. */
import { degradeAsTold } from './behaviours/degraded.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

degradeAsTold(ejabberdKind);
