/**
 * `warder doctor` at the stream of changes: whether it is there, is ours, numbers and republishes; and the clock, since its
 * numbers begin at the time. What is published is a tick, as each worker does twice a second: it changes nothing.
 */
import { ErrorCode, NatsError } from 'nats';
import type { NatsConnection, StreamInfo } from 'nats';
import { publishNumbered } from '../nats/publish.ts';
import {
  differenceOf,
  hasJetStream,
  invalidatedSubject,
  lowestSequence,
  streamConfig,
  streamName,
} from '../nats/stream.ts';
import { encodeTick } from '../wire/invalidation.ts';
import { durationWords } from './explain-decision.ts';
import type { Findings } from './findings.ts';

/** A code of the client is text, as those of the broker are. */
const permissionsViolation: string = ErrorCode.PermissionsViolation;

const timeoutMs = 2_000;
const skewWarnMs = 1_000;
const skewFailMs = 60_000;

/** @returns the number of the tick; undefined where there is no stream that gives one */
export async function examineStream(
  nats: NatsConnection,
  prefix: string,
  replicas: number | undefined,
  findings: Findings,
): Promise<number | undefined> {
  if (!(await hasJetStream(nats))) {
    findings.warn(
      'jetstream',
      'the NATS server has no JetStream: changes are best effort, and what is old may be served until its TTL',
      'start it with jetstream { store_dir: … }',
    );
    return undefined;
  }
  const info = await findStream(nats, prefix, findings);
  if (info === undefined) return undefined;
  if (!judgeConfig(info, prefix, replicas, findings)) return undefined;
  return tick(nats, prefix, findings);
}

async function findStream(nats: NatsConnection, prefix: string, findings: Findings): Promise<StreamInfo | undefined> {
  const name = streamName(prefix);
  try {
    return await (await nats.jetstreamManager({ checkAPI: false })).streams.info(name);
  } catch (error) {
    if (!(error instanceof NatsError)) throw error;
    if (error.code === '404')
      findings.fail('stream', `there is no stream ${name}`, 'the first worker makes it: start one, and see its log');
    else if (error.code === permissionsViolation) findings.note('stream', 'it may not be looked at');
    else
      findings.fail(
        'stream',
        `JetStream does not tell of ${name}: ${error.message}`,
        'look at the log of the NATS server; a cluster needs a leader',
      );
    return undefined;
  }
}

function judgeConfig(
  { config, state, cluster }: StreamInfo,
  prefix: string,
  replicas: number | undefined,
  findings: Findings,
): boolean {
  const wanted = streamConfig({ prefix, replicas: replicas ?? config.num_replicas });
  const difference = differenceOf(config, wanted);
  if (difference !== undefined) {
    findings.fail(
      'stream',
      `${config.name} has ${difference}`,
      `delete it (nats stream rm ${config.name}): the next worker makes it anew, and nothing is lost`,
    );
    return false;
  }
  const differences = (['max_age', 'duplicate_window', 'storage', 'num_replicas', 'retention'] as const)
    .filter((key) => config[key] !== wanted[key])
    .map((key) => `${key} is ${config[key]} and should be ${wanted[key]}`);
  if (differences.length > 0)
    findings.warn(
      'stream',
      `${config.name}: ${differences.join(', ')}`,
      `change it with nats stream edit, or delete it: the next worker makes it anew, and nothing is lost`,
    );
  else
    findings.ok(
      'stream',
      `${config.name} is ours: republished, kept 10 minutes, ${state.messages} messages, replicas ${config.num_replicas}`,
    );
  const late = (cluster?.replicas ?? []).filter(({ current, offline }) => !current || offline);
  if (late.length > 0)
    findings.warn(
      'stream',
      `replicas that are behind or gone: ${late.map(({ name }) => name).join(', ')}`,
      'bring these NATS servers back; with most of them gone nothing is acknowledged',
    );
  return true;
}

async function tick(nats: NatsConnection, prefix: string, findings: Findings): Promise<number | undefined> {
  const numbers = new Set<number>();
  let heard: () => void = () => undefined;
  const subscription = nats.subscribe(invalidatedSubject(prefix), {
    callback: (error, message) => {
      if (error !== null) return;
      numbers.add(Number(message.headers?.values('Nats-Sequence').at(-1)));
      heard();
    },
  });
  try {
    const sentAtMs = Date.now();
    const began = performance.now();
    const number = await publishNumbered(nats.jetstream(), prefix, encodeTick('warder doctor'), timeoutMs);
    const acknowledgedMs = performance.now() - began;
    const isRepublished = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      heard = () => {
        if (!numbers.has(number)) return;
        clearTimeout(timer);
        resolve(true);
      };
      heard();
    });
    if (isRepublished) findings.ok('changes', `one was numbered in ${durationWords(acknowledgedMs)}, and heard`);
    else
      findings.fail(
        'changes',
        'one was numbered, and not heard',
        'let everybody subscribe to .invalidated; a gateway or leaf node in between must pass it on',
      );
    await judgeClock(nats, prefix, number, sentAtMs, findings);
    return number;
  } catch (error) {
    if (nats.isClosed()) throw error;
    const detail = error instanceof Error ? error.message : String(error);
    findings.fail(
      'changes',
      `one was not acknowledged: ${detail}`,
      `at least ${lowestSequence} is wanted as a number: see whether a worker runs, and the log of the NATS server`,
    );
    return undefined;
  } finally {
    if (!nats.isClosed()) subscription.unsubscribe();
  }
}

/** The time of the last message is the broker's; it was stored between sending and now. */
async function judgeClock(
  nats: NatsConnection,
  prefix: string,
  number: number,
  sentAtMs: number,
  findings: Findings,
): Promise<void> {
  const { state } = await (await nats.jetstreamManager({ checkAPI: false })).streams.info(streamName(prefix));
  const nowMs = Date.now();
  const theirsMs = Date.parse(state.last_ts);
  const skewMs = theirsMs > nowMs ? theirsMs - nowMs : theirsMs < sentAtMs ? sentAtMs - theirsMs : 0;
  const which = theirsMs > nowMs ? 'ahead of' : 'behind';
  const found = `the clock of the NATS server is ${durationWords(skewMs)} ${which} that of this machine`;
  const right = 'set the clocks by NTP: a stream that is made anew begins at the time of the worker that makes it';
  if (skewMs > skewFailMs) findings.fail('clock', found, right);
  else if (skewMs > skewWarnMs) findings.warn('clock', found, right);
  else
    findings.ok(
      'clock',
      `this machine and the NATS server agree within ${durationWords(Math.max(skewMs, nowMs - sentAtMs))}`,
    );
  if (number > nowMs)
    findings.warn(
      'numbers',
      `changes are numbered ${durationWords(number - nowMs)} ahead of the time: a stream that is made anew would use numbers twice`,
      'do not delete the stream before that time; see whether the clock was set back',
    );
}
