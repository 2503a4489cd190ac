/** What clients of a real Prosody get while the application, the workers or the broker fail. */
import { degradeAsTold } from './behaviours/degraded.ts';
import { prosodyKind } from './prosody-kind.ts';

degradeAsTold(prosodyKind);
