/** The options of each type of source, and which operations it can answer. What a type does stands in `src/sources/`. */
import { z } from 'zod';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import type { Operation } from '../wire/operation.ts';
import { stanzaCondition, stanzaErrorTypes } from '../wire/replies.ts';
import { checkHttpOptions, httpOptions, httpUrl, uriTemplate } from './http-source.ts';
import { rosterSql } from './sql-source.ts';
import { addressProblem, templateProblem, variablesOf } from './uri-template.ts';

const http = z
  .strictObject({
    type: z.literal('http'),
    url: httpUrl,
    send_stanza: z.boolean().default(true),
    needs_stanza: z.boolean().default(false),
    ...httpOptions,
  })
  .check(checkHttpOptions)
  .refine(({ send_stanza, needs_stanza }) => send_stanza || !needs_stanza, {
    path: ['needs_stanza'],
    message: 'a decision that needs the stanza needs send_stanza: true as well',
  });

/** What a `msg-filter-http` template may name; `from` and `to` are bare JIDs. */
export const msgFilterVariables = [
  'from',
  'from_node',
  'from_domain',
  'from_resource',
  'to',
  'to_node',
  'to_domain',
  'to_resource',
] as const;

const msgFilterHttp = z
  .strictObject({
    type: z.literal('msg-filter-http'),
    url: uriTemplate(msgFilterVariables).check((context) => {
      const names = variablesOf(context.value);
      const sides = ['from', 'to'].filter((side) => !names.some((name) => name.startsWith(side)));
      if (sides.length === 0) return;
      const message = `says nothing about ${sides.join(' and ')}: everybody would share one decision; add {?from,to}`;
      context.issues.push({ code: 'custom', message, input: context.value });
    }),
    kinds: z
      .array(z.enum(['message', 'presence', 'iq']))
      .min(1)
      .default(['message']),
    without_body: z.enum(['allow', 'check']).default('allow'),
    symmetric: z.boolean().default(true),
    ...httpOptions,
  })
  .check(checkHttpOptions);

/** The node part of a room, in its normal form. */
const roomNode = z.string().transform((text, context) => {
  try {
    if (!/[@/]/.test(text)) return parseBareJid(`${text}@localhost`).node;
  } catch (error) {
    if (!(error instanceof InvalidJid)) throw error;
  }
  const node = text.split('@')[0] ?? '';
  const right = node === '' || node === text ? 'lobby for lobby@rooms.example.org' : `${node} for ${text}`;
  const message = `must be the part of a room's JID before the @: ${right}`;
  context.issues.push({ code: 'custom', message, input: text });
  return z.NEVER;
});

const roomNodes = z.array(roomNode, 'must be a list of room names, the part before the @: [lobby, staff]').min(1);

const mucAuthHttp = z
  .strictObject({
    type: z.literal('muc-auth-http'),
    url: httpUrl,
    enabled_for: roomNodes.optional(),
    disabled_for: roomNodes.optional(),
    denied: z
      .strictObject({ type: z.enum(stanzaErrorTypes).optional(), condition: stanzaCondition.default('forbidden') })
      .prefault({}),
    show_error: z.boolean().default(false),
    ...httpOptions,
  })
  .check(checkHttpOptions)
  .refine(({ enabled_for, disabled_for }) => enabled_for === undefined || disabled_for === undefined, {
    path: ['disabled_for'],
    message:
      'cannot stand beside enabled_for: keep enabled_for: […] to check only these rooms, or disabled_for: […] to check all others',
  });

/** What a `roster-http` template may name. */
export const rosterVariables = ['user', 'host', 'jid'] as const;

const rosterHttp = z
  .strictObject({
    type: z.literal('roster-http'),
    url: z
      .string('must be a URL with %s for the user name, or a URI template with {user}, {host}, {jid}')
      .check((context) => {
        const message = rosterUrlProblem(context.value);
        if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value });
      }),
    empty_on_404: z.boolean().default(false),
    ...httpOptions,
  })
  .check(checkHttpOptions);

function rosterUrlProblem(url: string): string | undefined {
  const percents = url.split('%s').length - 1;
  if (/[{}]/.test(url)) {
    if (percents > 0) return 'mixes %s with a template; write {user} in place of %s';
    const named = variablesOf(url).some((name) => name === 'user' || name === 'jid');
    return templateProblem(url, rosterVariables) ?? (named ? undefined : 'names no user; add {user} or {jid}');
  }
  if (percents === 0) return 'names no user: put %s, {user} or {jid} where the user name belongs';
  if (/^https?:\/\/[^/?#]*%s/i.test(url)) return 'has a variable in its host; the host must be fixed';
  return addressProblem(url);
}

const fixed = z.strictObject({
  type: z.literal('static'),
  /** A key beside `type`, so it is no `{file: PATH}`, which stands for the content of a file. */
  file: z.string('must be the path of a policy file').min(1),
  poll_ms: z.number().int().min(10).max(3_600_000).default(2_000),
});

/** Sources that are always there, each with the one answer that is its name. */
export const constantNames = ['allow', 'deny'] as const;
export type ConstantName = (typeof constantNames)[number];

/** What a constant can be asked: everything that is answered with a verdict. */
export const operationsOfConstants: readonly Operation[] = [
  'stanza-check',
  'join-check',
  'session-check',
  'roster-set',
  'roster-subscription',
];

/** The operations that each type can be asked. */
export const operationsOfType = {
  http: [
    'stanza-check',
    'join-check',
    'session-check',
    'roster-refresh',
    'roster-set',
    'roster-subscription',
    'user-removed',
  ],
  'msg-filter-http': ['stanza-check'],
  'muc-auth-http': ['join-check'],
  'roster-http': ['roster-refresh'],
  'roster-sql': ['roster-refresh', 'roster-set', 'roster-subscription', 'user-removed'],
  static: ['stanza-check', 'join-check', 'session-check', 'roster-refresh'],
} as const satisfies Record<string, readonly Operation[]>;

export const sourceConfig = z.discriminatedUnion(
  'type',
  [http, msgFilterHttp, mucAuthHttp, rosterHttp, rosterSql, fixed],
  {
    error: `must be a map with a type, one of ${Object.keys(operationsOfType).join(', ')}`,
  },
);

export type SourceConfig = z.output<typeof sourceConfig>;
export type HttpConfig = z.output<typeof http>;
export type MsgFilterHttpConfig = z.output<typeof msgFilterHttp>;
export type MucAuthHttpConfig = z.output<typeof mucAuthHttp>;
export type RosterHttpConfig = z.output<typeof rosterHttp>;
export type StaticConfig = z.output<typeof fixed>;
