/** What whatever is remembered has to be held against: the order of changes, the proof that none was missed, and the time. */
import type { Clock } from '../clock.ts';
import type { ChangeOrder } from './order.ts';
import type { Proof } from './proof.ts';
import type { RecentChanges } from './recent.ts';

export interface Freshness {
  readonly order: ChangeOrder;
  readonly proof: Proof;
  readonly recent: RecentChanges;
  readonly clock: Clock;
}
