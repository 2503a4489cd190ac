/** A decision in plain words: what happens, what the client sees, and what the hook may remember. */
import { z } from 'zod';
import { decision, scopes } from '../wire/replies.ts';
import type { Verdict } from '../wire/replies.ts';
import { parseXml } from '../wire/xml.ts';
import { MalformedXml } from '../wire/malformed.ts';
import { readStanzaError } from '../wire/stanza-error.ts';
import { exitCodes } from './exit-codes.ts';
import { columns, printable, wrap } from './terminal.ts';
import type { Colour, Paint } from './terminal.ts';

/** A reply as an asker reads it. */
const decisionReply = decision.extend({
  ttl_ms: z.number().catch(0),
  // An unknown scope is `none`: remembering less is always right.
  scope: z.enum(scopes).catch('none'),
  degraded: z.string().nullish(),
});

export type DecisionAnswer = z.output<typeof decisionReply>;

/** What was asked about, in words. */
export interface Asked {
  /** Who wants something: whom the scope `sender` is about. */
  readonly who: string;
  /** The other side: the recipient, or the room. */
  readonly whom?: string;
  /** What happens with each verdict, as a sentence. */
  readonly means: Record<Verdict, string>;
  /** What the same answer is good for, when it is remembered for him and, unless that is left out, for the other side. */
  readonly alike: (who: string, whom?: string) => string;
}

/** Undefined when the reply is none that a hook would accept. */
export function readDecision(reply: Record<string, unknown>): DecisionAnswer | undefined {
  return decisionReply.safeParse(reply).data;
}

export function exitCodeOf({ verdict }: DecisionAnswer): number {
  return verdict === 'allow' || verdict === 'modify' ? exitCodes.ok : exitCodes.refused;
}

const words: Record<Verdict, { title: string; colour: Colour }> = {
  allow: { title: 'allowed', colour: 'green' },
  deny: { title: 'denied', colour: 'red' },
  drop: { title: 'dropped', colour: 'red' },
  modify: { title: 'modified', colour: 'yellow' },
  defer: { title: 'deferred', colour: 'yellow' },
};

export function explainDecision(
  asked: Asked,
  answer: DecisionAnswer,
  context: readonly [string, string][],
  paint: Paint,
): string {
  const { title, colour } = words[answer.verdict];
  const rows: [string, string][] = [];
  if (answer.verdict === 'deny' || answer.verdict === 'defer') rows.push(['error', errorWords(answer)]);
  if (answer.stanza !== undefined) rows.push(['instead', printable(answer.stanza)]);
  if (answer.item !== undefined) rows.push(['instead', itemWords(answer.item)]);
  if (answer.notify !== undefined)
    rows.push(['notify', `where the hook is configured to: ${printable(answer.notify)}`]);
  if (answer.reason !== undefined) rows.push(['reason', printable(answer.reason)]);
  if (typeof answer.degraded === 'string') {
    rows.push([
      'degraded',
      `this is the configured fallback and no real decision, because of ${printable(answer.degraded)}; the log of the workers says more`,
    ]);
  }
  rows.push(['remember', rememberWords(asked, answer)], ...context);
  const sentence = wrap(printable(asked.means[answer.verdict]), title.length + 2);
  return `${paint(colour, title)}: ${sentence}\n${columns(rows)}`;
}

function itemWords({ name, groups }: NonNullable<DecisionAnswer['item']>): string {
  const called = name === undefined ? 'without a name' : `named ${JSON.stringify(printable(name))}`;
  const where =
    groups.length === 0 ? 'in no group' : `in ${groups.map((group) => JSON.stringify(printable(group))).join(', ')}`;
  return `${called}, ${where}`;
}

function errorWords({ error, verdict }: DecisionAnswer): string {
  const type = verdict === 'defer' ? 'wait' : error?.type;
  if (error?.xml !== undefined) {
    const read = readErrorXml(error.xml);
    if (read === undefined)
      return `no valid stanza error, so the client gets the hook's default: ${printable(error.xml)}`;
    return named(read.type, read.condition, read.text);
  }
  if (error?.condition === undefined) {
    const text = error?.text === undefined ? '' : `, with the text ${JSON.stringify(printable(error.text))}`;
    return `no condition is named, so the client gets the hook's default${text}`;
  }
  return named(type, error.condition, error.text);
}

function named(type: string | undefined, condition: string, text: string | undefined): string {
  const name = type === undefined ? condition : `${type}/${condition}`;
  return text === undefined
    ? `${name}, as the client sees it`
    : `${name}, ${JSON.stringify(printable(text))}, as the client sees it`;
}

function readErrorXml(text: string) {
  try {
    return readStanzaError(parseXml(text));
  } catch (error) {
    if (error instanceof MalformedXml) return undefined;
    throw error;
  }
}

function rememberWords(
  { who, whom, alike }: Asked,
  { scope, ttl_ms, verdict, degraded, notify }: DecisionAnswer,
): string {
  const isKept = ttl_ms > 0 && typeof degraded !== 'string' && notify === undefined;
  if (scope === 'none' || !isKept || verdict === 'modify' || verdict === 'defer') return 'no: the hook asks each time';
  const bare = (jid: string) => jid.replace(/\/.*$/s, '');
  const other = whom === undefined ? undefined : bare(whom);
  const what = {
    pair: () => alike(bare(who), other),
    'pair-full': () => alike(who, whom),
    sender: () => alike(bare(who)),
    room: () => alike(bare(who), other),
  }[scope]();
  return `for ${durationWords(ttl_ms)}, for ${printable(what)} (scope ${scope})`;
}

export function durationWords(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1_000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${Number((ms / 1_000).toFixed(1))} s`;
}
