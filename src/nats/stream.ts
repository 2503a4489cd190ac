/**
 * The stream that gives changes their order. It captures one subject and republishes every message with its number, so
 * that caches follow it with plain subscriptions and need no consumer.
 *
 * Its numbers begin at the time: whoever makes the stream, or finds it below 10^12, purges it with the present time in
 * milliseconds as its next number. A stream that is lost and made anew therefore never uses a number twice.
 */
import { createHash } from 'node:crypto';
import { DiscardPolicy, nanos, NatsError, RetentionPolicy, StorageType } from 'nats';
import type { JetStreamManager, NatsConnection, StreamConfig, StreamInfo } from 'nats';
import type { Logger } from 'pino';

/** Far above what counting from 1 reaches, far below the time in milliseconds. */
export const lowestSequence = 1e12;
const minute = 60_000;

export interface StreamOptions {
  readonly prefix: string;
  readonly replicas: number;
}

/** The stream exists and cannot do what it must. */
export class StreamIncompatible extends Error {
  override readonly name = 'StreamIncompatible';
}

export function invalidateSubject(prefix: string): string {
  return `${prefix}.invalidate`;
}

export function invalidatedSubject(prefix: string): string {
  return `${prefix}.invalidated`;
}

/** Two streams may not capture the same subject and one stream may not have two names: the prefix makes the name. */
export function streamName(prefix: string): string {
  if (prefix === 'xmpp.policy.v1') return 'WARDER_INVALIDATIONS';
  const hash = createHash('sha256').update(prefix).digest('hex').slice(0, 8);
  return `WARDER_INVALIDATIONS_${prefix.replaceAll(/[^A-Za-z0-9]/g, '_')}_${hash}`;
}

/**
 * Whether the broker has JetStream at all. A broker that says so in its INFO has it, even when it answers "no responders"
 * for want of a leader or because it is just starting; one that does not may stand in a cluster of which others do.
 * Whoever is in doubt has it: without proofs nothing is served that might be old.
 */
export async function hasJetStream(nats: NatsConnection): Promise<boolean> {
  if (nats.info?.jetstream === true) return true;
  try {
    await (await nats.jetstreamManager({ checkAPI: false })).getAccountInfo();
    return true;
  } catch (error) {
    return !(error instanceof NatsError && (error.code === '503' || error.message.includes('not enabled')));
  }
}

/**
 * Makes the stream, or checks the one that is there.
 * @returns whether its numbers were begun anew, so that everything has to be said to have changed
 * @throws StreamIncompatible with what to do about it
 */
export async function ensureStream(nats: NatsConnection, options: StreamOptions, log: Logger): Promise<boolean> {
  const manager = await nats.jetstreamManager({ checkAPI: false });
  const wanted = streamConfig(options);
  const info = await findOrMake(manager, wanted);
  const difference = differenceOf(info.config, wanted);
  if (difference !== undefined) {
    throw new StreamIncompatible(
      `the stream ${wanted.name} has ${difference}. That cannot be changed on an existing stream: delete it ` +
        `(nats stream rm ${wanted.name}) and start a worker, which makes it anew. Nothing is lost: it only orders changes, and its numbers go on`,
    );
  }
  if (info.state.last_seq >= lowestSequence) return false;
  await manager.streams.purge(wanted.name, { seq: Date.now() });
  log.info({ stream: wanted.name }, 'stream numbered from the present time');
  return true;
}

/** What the stream should be. */
export function streamConfig({ prefix, replicas }: StreamOptions) {
  return {
    name: streamName(prefix),
    subjects: [invalidateSubject(prefix)],
    republish: { src: invalidateSubject(prefix), dest: invalidatedSubject(prefix) },
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    max_age: nanos(10 * minute),
    // The smallest that nats-server takes. Nothing here is published with a message id.
    duplicate_window: nanos(100),
    num_replicas: replicas,
  } satisfies Partial<StreamConfig>;
}

async function findOrMake(manager: JetStreamManager, wanted: ReturnType<typeof streamConfig>): Promise<StreamInfo> {
  try {
    return await manager.streams.info(wanted.name);
  } catch (error) {
    if (!(error instanceof NatsError && error.code === '404')) throw error;
  }
  try {
    return await manager.streams.add(wanted);
  } catch (error) {
    // Another worker was quicker; the broker refuses a second stream of that name.
    return await manager.streams.info(wanted.name).catch(() => {
      throw error;
    });
  }
}

/** What makes a stream unusable and cannot be changed; undefined where nothing does. */
export function differenceOf(config: StreamConfig, wanted: ReturnType<typeof streamConfig>): string | undefined {
  if (config.subjects.join() !== wanted.subjects.join()) return `the subjects ${config.subjects.join(', ')}`;
  const { republish } = config;
  if (republish?.dest !== wanted.republish.dest) return `republish to ${republish?.dest ?? 'nowhere'}`;
  if (republish.headers_only === true) return 'republish of headers only';
  return undefined;
}
