/**
 * The NATS service protocol (ADR-32): `$SRV.PING`, `INFO` and `STATS`, so that `nats service ls` and its kin list the
 * workers. Every worker answers, so there is no queue group here. The framework of nats.js is not used, because it
 * neither awaits its handlers nor times what they do after their first await.
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import { operationNames } from '../wire/operation.ts';
import type { Operation } from '../wire/operation.ts';
import { isInbox, queueGroup, requestSubject } from './subjects.ts';
import type { OperationStats } from './stats.ts';

export const serviceName = 'warder';

export interface ServiceOptions {
  readonly nats: NatsConnection;
  readonly prefix: string;
  readonly id: string;
  readonly version: string;
  readonly stats: Record<Operation, OperationStats>;
  /** What is ours in the answers, where ADR-32 leaves it to the service. */
  readonly data: { worker(): object; endpoint(operation: Operation): object };
}

const verbs = ['PING', 'INFO', 'STATS'] as const;

/** Answers until stopped. */
export function startService(options: ServiceOptions): { stop(): void } {
  const { nats, id } = options;
  const started = new Date().toISOString();
  const subscriptions: Subscription[] = [];
  for (const verb of verbs) {
    const answer = (message: Msg) => {
      if (isInbox(message.reply)) nats.publish(message.reply, JSON.stringify(reportOf(verb, options, started)));
    };
    for (const subject of [`$SRV.${verb}`, `$SRV.${verb}.${serviceName}`, `$SRV.${verb}.${serviceName}.${id}`]) {
      subscriptions.push(
        nats.subscribe(subject, { callback: (error, message) => (error === null ? answer(message) : undefined) }),
      );
    }
  }
  return {
    stop: () => {
      if (nats.isClosed()) return;
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}

function reportOf(verb: (typeof verbs)[number], options: ServiceOptions, started: string): object {
  const { id, version, prefix, stats, data } = options;
  const identity = { name: serviceName, id, version, metadata: {} };
  const endpoint = (operation: Operation) => ({
    name: operation,
    subject: requestSubject(prefix, operation),
    queue_group: queueGroup,
  });
  switch (verb) {
    case 'PING':
      return { type: 'io.nats.micro.v1.ping_response', ...identity };
    case 'INFO':
      return {
        type: 'io.nats.micro.v1.info_response',
        ...identity,
        description: 'Decides stanzas, joins, sessions and rosters of XMPP servers',
        endpoints: operationNames.map((operation) => ({ ...endpoint(operation), metadata: {} })),
        data: data.worker(),
      };
    case 'STATS':
      return {
        type: 'io.nats.micro.v1.stats_response',
        ...identity,
        started,
        endpoints: operationNames.map((operation) => ({
          ...endpoint(operation),
          ...figuresOf(stats[operation]),
          data: data.endpoint(operation),
        })),
        data: data.worker(),
      };
  }
}

/** Times are in nanoseconds, as ADR-32 wants them. */
function figuresOf({ latency, failures, lastError }: OperationStats): object {
  const processing = Math.round(latency.sumSeconds * 1e9);
  return {
    num_requests: latency.count,
    num_errors: Object.values(failures).reduce((sum, count) => sum + count, 0),
    last_error: lastError,
    processing_time: processing,
    average_processing_time: latency.count === 0 ? 0 : Math.round(processing / latency.count),
  };
}
