/** A worker whose event loop lags leaves the queue group: what is told about the loop, and what follows from it. */
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Liveness } from './liveness.ts';
import type { Members } from './members.ts';
import { QueueMembership } from './queue-membership.ts';
import type { RequestServer } from './serve.ts';

export interface LagParts {
  readonly clock: Clock;
  readonly liveness: Liveness;
  readonly members: Members;
  readonly server: RequestServer;
  readonly log: Logger;
}

/**
 * Until it is stopped, which has to be before the server is: else that would be started again.
 * @param maxLagMs for how long the loop may stand still within a second; 0: for ever
 */
export function leaveWhenLagging(maxLagMs: number, parts: LagParts): QueueMembership {
  const { clock, liveness, members, server, log } = parts;
  const membership = new QueueMembership({
    clock,
    maxLagMs,
    othersServe: () => members.othersServe(),
    leave: () => {
      log.warn({ stalls: liveness.stalls }, 'the event loop lags: left the queue group');
      server.leave();
      members.membershipChanged();
    },
    join: () => {
      log.info('back in the queue group');
      server.start();
      members.membershipChanged();
    },
  });
  liveness.onLooped((stalledMs) => membership.looped(stalledMs));
  return membership;
}
