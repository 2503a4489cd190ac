/** The messages of the protocol as AsyncAPI describes them: which schema each payload has, and which headers. */
import type { z } from 'zod';
import { failures } from '../failures.ts';
import { announcement, membersReport } from '../nats/members.ts';
import { operations } from '../operations.ts';
import { flushFailure, flushReply, flushRequest } from '../wire/flush.ts';
import { hookAcknowledgement, hookCounted, hookReport } from '../wire/hook-stats.ts';
import { changeMessage, tickMessage } from '../wire/invalidation.ts';
import { operationNames } from '../wire/operation.ts';
import type { Operation } from '../wire/operation.ts';
import { decisionReply, failureReply, rosterReply, userRemovedReply } from '../wire/replies.ts';
import { watchedDecision, watchedDropped, watchFailure, watchReply, watchRequest } from '../wire/watch.ts';
import { acknowledgement, serviceReport } from './foreign.ts';
import { jsonSchemaOf } from './json-schema.ts';
import type { JsonSchema } from './json-schema.ts';

const replies: ReadonlyMap<z.ZodType, string> = new Map<z.ZodType, string>([
  [decisionReply, 'decision-reply'],
  [rosterReply, 'roster-reply'],
  [userRemovedReply, 'user-removed-reply'],
]);

export function requestName(operation: Operation): string {
  return `${operation}-request`;
}

/** @throws Error when an operation answers what is not listed here */
export function replyName(operation: Operation): string {
  const name = replies.get(operations[operation].reply);
  if (name === undefined) throw new Error(`the reply to ${operation} has no name`);
  return name;
}

/** The payloads by name. Absent and nil mean the same, hence `null` beside so many types. */
export function schemas(): Record<string, JsonSchema> {
  const types: [string, z.ZodType][] = [
    ...operationNames.map((operation): [string, z.ZodType] => [
      requestName(operation),
      operations[operation].form.fields,
    ]),
    ...[...replies].map(([type, name]): [string, z.ZodType] => [name, type]),
    ['failure-reply', failureReply],
    ['change', changeMessage],
    ['tick', tickMessage],
    ['acknowledgement', acknowledgement],
    ['flush-request', flushRequest],
    ['flush-reply', flushReply],
    ['flush-failure', flushFailure],
    ['seen', announcement],
    ['members', membersReport],
    ['hook-report', hookReport],
    ['hook-acknowledgement', hookAcknowledgement],
    ['hook-counted', hookCounted],
    ['watch', watchRequest],
    ['watch-reply', watchReply],
    ['watch-failure', watchFailure],
    ['watched-decision', watchedDecision],
    ['watched-dropped', watchedDropped],
    ['service-report', serviceReport],
  ];
  return Object.fromEntries(types.map(([name, type]) => [name, jsonSchemaOf(type)]));
}

const json = 'application/json';

/** Messages that are no plain payload. */
const particular: Record<string, { summary: string; contentType?: string; headers?: JsonSchema }> = {
  'failure-reply': { summary: 'What could not be answered, and why', headers: failureHeaders() },
  change: { summary: 'Something has changed' },
  tick: { summary: 'Proves that nothing was missed; changes nothing' },
  acknowledgement: { summary: 'JetStream has taken the change and numbered it, or has not', contentType: json },
  'flush-request': { summary: 'Please say that this user or room has changed' },
  'flush-reply': { summary: 'The change is acknowledged' },
  'flush-failure': { summary: 'What could not be published, and why' },
  seen: { summary: 'Who is there, and what it has seen' },
  members: { summary: 'The last announcement of everyone who was heard in the last 30 seconds', contentType: json },
  'hook-report': { summary: 'What a hook has counted since its last report that was acknowledged' },
  'hook-acknowledgement': { summary: 'The report of this number is counted' },
  'hook-counted': { summary: 'One worker to the others: that report is counted' },
  watch: { summary: 'Tell me of such decisions for 15 seconds' },
  'watch-reply': { summary: 'A worker will' },
  'watch-failure': { summary: 'A worker will not, and why' },
  'watched-decision': { summary: 'What was asked, and what became of it', contentType: json },
  'watched-dropped': { summary: 'There were more than a worker tells in a second', contentType: json },
  'service-report': { summary: 'ADR-32', contentType: json },
};

export function messages(): Record<string, object> {
  const plain = Object.keys(schemas()).map((name): [string, object] => [
    name,
    { name, ...particular[name], payload: payloadOf(name) },
  ]);
  const numbered = ['change', 'tick'].map((name): [string, object] => {
    const summary = `The same, with the number that the broker gave it`;
    return [
      `numbered-${name}`,
      { name: `numbered-${name}`, summary, headers: numberHeaders(), payload: payloadOf(name) },
    ];
  });
  return Object.fromEntries([...plain, ...numbered]);
}

function payloadOf(name: string): object {
  return { $ref: `#/components/schemas/${name}` };
}

function failureHeaders(): JsonSchema {
  const all = Object.values(failures);
  return {
    type: 'object',
    required: ['Nats-Service-Error', 'Nats-Service-Error-Code'],
    properties: {
      'Nats-Service-Error': { type: 'string', enum: all.map(({ text }) => text) },
      'Nats-Service-Error-Code': { type: 'string', enum: all.map(({ code }) => String(code)) },
    },
  };
}

function numberHeaders(): JsonSchema {
  const last = 'A publisher can forge it: of several values the last is the broker’s';
  return {
    type: 'object',
    required: ['Nats-Stream', 'Nats-Sequence'],
    properties: {
      'Nats-Stream': { type: 'string', description: `The stream of changes. ${last}` },
      'Nats-Sequence': { type: 'string', pattern: '^[1-9][0-9]*$', description: `The number. ${last}` },
    },
  };
}
