/**
 * The wire protocol as an AsyncAPI 3 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0), from the
 * side of a worker: it receives requests and sends replies. Everything in it comes from the schemas that workers use;
 * what the schemas do not say is in docs/protocol.md.
 */
import { stringify } from 'yaml';
import { decisionsSubject, watchSubject } from '../nats/decisions-watch.ts';
import { flushSubject } from '../nats/flush-requests.ts';
import { hookCountedSubject, hookStatsSubject } from '../nats/hook-stats.ts';
import { membersSubject, seenSubject } from '../nats/members.ts';
import { serviceName } from '../nats/service.ts';
import { invalidatedSubject, invalidateSubject } from '../nats/stream.ts';
import { queueGroup, requestSubject } from '../nats/subjects.ts';
import { operationNames } from '../wire/operation.ts';
import type { Operation } from '../wire/operation.ts';
import { messages, replyName, requestName, schemas } from './messages.ts';

const defaultPrefix = 'xmpp.policy.v1';
const prefix = '{prefix}';

const titles: Readonly<Record<Operation, string>> = {
  'stanza-check': 'May this stanza pass?',
  'join-check': 'May this user enter this room?',
  'session-check': 'May this session open?',
  'roster-refresh': 'What do these rosters hold?',
  'roster-set': 'May this contact be added, changed or removed?',
  'roster-subscription': 'May this subscription be asked for, granted or ended?',
  'user-removed': 'This account is gone',
};

const description = `How XMPP servers ask and workers answer. The rules that no schema can say are in protocol.md.

A payload is one MessagePack map with string keys and without extension types, or one JSON object; the first byte tells
which. The reply has the encoding of its request. Unknown keys are ignored, nil and absent mean the same, lengths are in
UTF-16 units.`;

export function asyncApiDocument(): object {
  return {
    asyncapi: '3.0.0',
    info: { title: 'Warder', version: '1', description },
    defaultContentType: 'application/vnd.msgpack',
    servers: { nats: { host: 'localhost:4222', protocol: 'nats', description: 'The NATS servers of the cluster' } },
    channels: channels(),
    operations: { ...requestOperations(), ...changeOperations(), ...controlOperations() },
    components: {
      parameters: {
        prefix: { description: 'What all subjects begin with', default: defaultPrefix },
        verb: { description: 'Which of the three', enum: ['PING', 'INFO', 'STATS'] },
      },
      messages: messages(),
      schemas: schemas(),
    },
  };
}

/** As it is checked in. */
export function asyncApiYaml(): string {
  const head = '# Generated from the schemas in src by `npm run docs:asyncapi`; a test fails when it is out of date.\n';
  return head + stringify(asyncApiDocument(), { lineWidth: 0, singleQuote: true, aliasDuplicateObjects: false });
}

function channels(): object {
  const requests = operationNames.map((operation) => [
    operation,
    channel(requestSubject(prefix, operation), titles[operation], [requestName(operation)]),
  ]);
  const answers = [
    ...new Set(operationNames.map(replyName)),
    'failure-reply',
    'acknowledgement',
    'members',
    'flush-reply',
    'flush-failure',
    'hook-acknowledgement',
    'watch-reply',
    'watch-failure',
  ];
  return {
    ...Object.fromEntries(requests),
    inbox: {
      address: null,
      title: 'The reply subject of a request',
      description:
        'Begins with `_INBOX.`; a request with any other is dropped without an answer. A message without payload and ' +
        'with the status 503 is from the broker: nobody listens.',
      messages: refs('messages', [...answers, 'service-report']),
    },
    invalidate: channel(invalidateSubject(prefix), 'What has changed', ['change', 'tick']),
    invalidated: channel(invalidatedSubject(prefix), 'What has changed, in order', [
      'numbered-change',
      'numbered-tick',
    ]),
    'ctl.seen': channel(seenSubject(prefix), 'Who is there', ['seen']),
    'ctl.members': {
      ...channel(membersSubject(prefix), 'Asks who is there', []),
      description: 'The payload of the request is not read.',
    },
    'ctl.flush': channel(flushSubject(prefix), 'Publish a change for me', ['flush-request']),
    'ctl.hook-stats': channel(hookStatsSubject(prefix), 'What a hook has counted', ['hook-report']),
    'ctl.hook-counted': channel(hookCountedSubject(prefix), 'Which report is counted', ['hook-counted']),
    'ctl.watch': channel(watchSubject(prefix), 'Somebody watches', ['watch']),
    'ctl.decisions': channel(decisionsSubject(prefix), 'Decisions as they are made', [
      'watched-decision',
      'watched-dropped',
    ]),
    services: {
      address: '$SRV.{verb}',
      title: 'The NATS service protocol',
      description: `Also \`$SRV.{verb}.${serviceName}\` and \`$SRV.{verb}.${serviceName}.{id}\`. The request has no payload.`,
      parameters: refs('parameters', ['verb']),
      messages: {},
    },
  };
}

function channel(address: string, title: string, names: readonly string[]): object {
  return { address, title, parameters: refs('parameters', ['prefix']), messages: refs('messages', names) };
}

function requestOperations(): object {
  return Object.fromEntries(
    operationNames.map((operation) => [
      operation,
      {
        action: 'receive',
        channel: { $ref: `#/channels/${operation}` },
        title: titles[operation],
        bindings: { nats: { queue: queueGroup } },
        reply: replied([replyName(operation), 'failure-reply']),
      },
    ]),
  );
}

function changeOperations(): object {
  return {
    'publish-change': {
      action: 'send',
      channel: { $ref: '#/channels/invalidate' },
      description: 'Anybody who may publish here does the same. Repeated until acknowledged; otherwise best effort.',
      reply: replied(['acknowledgement']),
    },
    'hear-change': {
      action: 'receive',
      channel: { $ref: '#/channels/invalidate' },
      description: 'Every cache listens here too: what is named is dropped at once, before it has a number.',
    },
    'apply-change': {
      action: 'receive',
      channel: { $ref: '#/channels/invalidated' },
      description: 'Every cache follows the order. Only the broker publishes here.',
    },
  };
}

function controlOperations(): object {
  const seen = { $ref: '#/channels/ctl.seen' };
  return {
    'say-seen': { action: 'send', channel: seen, description: 'Every second, and soon after a change.' },
    'hear-seen': { action: 'receive', channel: seen },
    'tell-members': {
      action: 'receive',
      channel: { $ref: '#/channels/ctl.members' },
      bindings: { nats: { queue: queueGroup } },
      reply: replied(['members']),
    },
    'publish-for-others': {
      action: 'receive',
      channel: { $ref: '#/channels/ctl.flush' },
      description: 'For who may not publish changes. Answered when the change is acknowledged.',
      bindings: { nats: { queue: queueGroup } },
      reply: replied(['flush-reply', 'flush-failure']),
    },
    'count-for-hooks': {
      action: 'receive',
      channel: { $ref: '#/channels/ctl.hook-stats' },
      description: 'A report is repeated, as it was, until it is acknowledged.',
      bindings: { nats: { queue: queueGroup } },
      reply: replied(['hook-acknowledgement']),
    },
    'say-counted': { action: 'send', channel: { $ref: '#/channels/ctl.hook-counted' } },
    'hear-counted': { action: 'receive', channel: { $ref: '#/channels/ctl.hook-counted' } },
    'hear-watch': {
      action: 'receive',
      channel: { $ref: '#/channels/ctl.watch' },
      description: 'Every worker answers, where a reply subject is given. Said again every five seconds.',
      reply: replied(['watch-reply', 'watch-failure']),
    },
    'tell-decisions': {
      action: 'send',
      channel: { $ref: '#/channels/ctl.decisions' },
      description: 'Only while somebody watches; at most 500 a second from each worker.',
    },
    'tell-service': {
      action: 'receive',
      channel: { $ref: '#/channels/services' },
      description: 'Every worker answers.',
      reply: replied(['service-report']),
    },
  };
}

function replied(names: readonly string[]): object {
  return {
    channel: { $ref: '#/channels/inbox' },
    messages: names.map((name) => ({ $ref: `#/channels/inbox/messages/${name}` })),
  };
}

function refs(kind: 'messages' | 'parameters', names: readonly string[]): object {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/${kind}/${name}` }]));
}
