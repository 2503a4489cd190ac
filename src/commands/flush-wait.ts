/** Waiting until a change has reached every worker and hook that is known. */
import type { NatsConnection } from 'nats';
import { membersReport, membersSubject, readAnnouncement, seenSubject } from '../nats/members.ts';
import type { Announcement } from '../nats/members.ts';
import { decodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';

export interface Reach {
  readonly reported: readonly Announcement[];
  /** Known, and not heard of before the bound had passed. The promise holds for them as well: see docs/freshness.md. */
  readonly silent: readonly Announcement[];
  readonly boundMs: number;
}

const membersTimeoutMs = 2_000;

/**
 * Asks a worker who is there, before the change is published, and listens from then on.
 * @throws NatsError when no worker answers
 */
export async function watchMembers(nats: NatsConnection, prefix: string) {
  const known = new Map<string, Announcement>();
  let check: () => void = () => undefined;
  const note = (said: Announcement) => {
    const before = known.get(said.boot_id);
    if (before === undefined || before.seen <= said.seen) known.set(said.boot_id, said);
    check();
  };
  const listening = nats.subscribe(seenSubject(prefix), {
    callback: (error, message) => {
      const said = error === null ? readAnnouncement(message.data) : undefined;
      if (said !== undefined) note(said);
    },
  });
  const { data } = await nats.request(membersSubject(prefix), '', { timeout: membersTimeoutMs });
  const report = membersReport.parse(decodePayload(data, encodingOf(data)));
  for (const member of report.members) note(member);

  /** Resolves when all have reported the sequence, or when the bound has passed, and at least so many milliseconds. */
  const untilReached = async (sequence: number, leastMs = 0): Promise<Reach> => {
    const isBehind = ({ seen }: Announcement) => seen < sequence;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(report.bound_ms, leastMs));
      check = () => {
        if ([...known.values()].some(isBehind)) return;
        clearTimeout(timer);
        resolve();
      };
      check();
    });
    listening.unsubscribe();
    const all = [...known.values()];
    return {
      reported: all.filter((member) => !isBehind(member)),
      silent: all.filter(isBehind),
      boundMs: report.bound_ms,
    };
  };
  return { untilReached };
}
