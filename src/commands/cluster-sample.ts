/** What all workers say of themselves at one moment, and whom one of them hears. Knows nothing of what was before. */
import { ErrorCode, NatsError } from 'nats';
import type { NatsConnection } from 'nats';
import type { z } from 'zod';
import { membersReport, membersSubject } from '../nats/members.ts';
import type { MembersReport } from '../nats/members.ts';
import { serviceName } from '../nats/service.ts';
import { decodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import { statsReport } from '../wire/service-stats.ts';
import type { StatsReport } from '../wire/service-stats.ts';
import { askAll } from './ask-all.ts';

/** A code of the client is text, as those of the broker are. */
const timedOut: string = ErrorCode.Timeout;

export interface Sample {
  /** When it was asked for, on a monotonic clock. */
  readonly atMs: number;
  readonly workers: readonly StatsReport[];
  /** Of all who say every second who they are; undefined where no worker has told. */
  readonly members: MembersReport | undefined;
}

/** One worker answers; the next time perhaps one that is not stopped. */
const membersTimeoutMs = 400;
const membersTries = 2;

/** Workers of other prefixes at the same broker are left out. */
export async function takeSample(nats: NatsConnection, prefix: string): Promise<Sample> {
  const atMs = performance.now();
  const [answers, members] = await Promise.all([askAll(nats, `$SRV.STATS.${serviceName}`), askMembers(nats, prefix)]);
  const workers = answers
    .map((bytes) => readAs(statsReport, bytes))
    .filter((report) => report !== undefined)
    .filter(({ data }) => data === undefined || data.prefix === prefix);
  return { atMs, workers, members };
}

async function askMembers(nats: NatsConnection, prefix: string, tries = membersTries): Promise<Sample['members']> {
  try {
    const { data } = await nats.request(membersSubject(prefix), '', { timeout: membersTimeoutMs });
    return readAs(membersReport, data);
  } catch (error) {
    if (!(error instanceof NatsError)) throw error;
    return tries > 1 && error.code === timedOut ? askMembers(nats, prefix, tries - 1) : undefined;
  }
}

function readAs<T extends z.ZodType>(schema: T, bytes: Uint8Array): z.output<T> | undefined {
  try {
    return schema.safeParse(decodePayload(bytes, encodingOf(bytes))).data;
  } catch {
    // Something else that calls itself by our name.
    return undefined;
  }
}
