/** The XML that mod_msg_filter's service answers, and the decision in it for either of the two sides. */
import type { Element } from '@xmpp/xml';
import { MalformedXml } from '../wire/malformed.ts';
import type { Decision, StanzaError } from '../wire/replies.ts';
import { readStanzaError } from '../wire/stanza-error.ts';
import { parseXml } from '../wire/xml.ts';
import { SourceUnavailable } from './source.ts';

export interface Status {
  readonly allowed: boolean;
  /** What is to be sent to each side; undefined where nothing is. */
  readonly stanza1: Element | 'noop' | undefined;
  readonly stanza2: Element | 'noop' | undefined;
}

export type Side = 'stanza1' | 'stanza2';

/** What an empty `<error/>` stands for. */
const notAllowed: Partial<StanzaError> = { type: 'cancel', condition: 'not-allowed' };
const emptyErrorInFull = '<error type="cancel"><not-allowed xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>';

/** Bounds of the protocol's fields, in UTF-16 units. */
const maxErrorLength = 16_384;
const maxNotifyLength = 65_536;

/** Of what stands in place of a word, in the log. */
const maxQuoted = 60;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws SourceUnavailable with `bad-answer` for anything that is not exactly a status. */
export function readStatus(body: Uint8Array): Status {
  const root = parse(body);
  if (root.name !== 'status') throw bad(`the answer is a <${root.name}/>, no <status/>`);
  const value: unknown = root.attrs['value'];
  if (value !== 'allowed' && value !== 'denied') {
    const quoted = typeof value === 'string' ? value.slice(0, maxQuoted) : '';
    throw bad(`status is ${JSON.stringify(quoted)}, neither allowed nor denied`);
  }
  return { allowed: value === 'allowed', stanza1: sideOf(root, 'stanza1'), stanza2: sideOf(root, 'stanza2') };
}

/**
 * The decision for who asks as `own` side. A denial stays one whatever its stanzas hold: what is no stanza error is
 * replaced by the usual one. `<noop/>` for the asker's side is a denial that he does not hear of.
 */
export function decisionFor(status: Status, own: Side, other: Side): Decision {
  if (status.allowed) return { verdict: 'allow' };
  const notify = notifyOf(status[other]);
  const rest = notify === undefined ? {} : { notify };
  const ours = status[own];
  if (ours === 'noop') return { verdict: 'drop', ...rest };
  if (ours === undefined || isEmptyError(ours)) return { verdict: 'deny', error: notAllowed, ...rest };
  const xml = standingAlone(ours);
  if (xml !== undefined && xml.length <= maxErrorLength && readStanzaError(parseXml(xml)) !== undefined) {
    return { verdict: 'deny', error: { xml }, ...rest };
  }
  return {
    verdict: 'deny',
    error: notAllowed,
    reason: `${own} holds no stanza error: not-allowed in its place`,
    ...rest,
  };
}

function sideOf(root: Element, side: Side): Element | 'noop' | undefined {
  const wrappers = root.getChildElements().filter(({ name }) => name === side);
  const children = wrappers.flatMap((wrapper) => wrapper.getChildElements());
  if (wrappers.length > 1 || children.length > 1) throw bad(`${side} has more than one stanza`);
  const [child] = children;
  return child?.name === 'noop' ? 'noop' : child;
}

function isEmptyError(element: Element): boolean {
  return element.name === 'error' && element.children.length === 0 && Object.keys(element.attrs).length === 0;
}

/** An empty `<error/>` says no more to the other side than to the asker's. */
function notifyOf(element: Element | 'noop' | undefined): string | undefined {
  if (element === undefined || element === 'noop') return undefined;
  if (isEmptyError(element)) return emptyErrorInFull;
  const xml = standingAlone(element);
  return xml !== undefined && xml.length <= maxNotifyLength ? xml : undefined;
}

/** The XML of an element outside of its document; undefined when it needs a prefix that was declared further up. */
function standingAlone(element: Element): string | undefined {
  const xml = element.toString();
  try {
    parseXml(xml);
    return xml;
  } catch (error) {
    if (error instanceof MalformedXml) return undefined;
    throw error;
  }
}

function parse(body: Uint8Array): Element {
  try {
    return parseXml(
      utf8
        .decode(body)
        .replace(/^\s*<\?xml[^>]*\?>/, '')
        .trim(),
    );
  } catch (error) {
    if (error instanceof MalformedXml) throw bad(`the answer is not well-formed: ${error.message}`);
    if (error instanceof TypeError) throw bad('the answer is no UTF-8');
    throw error;
  }
}

function bad(detail: string): SourceUnavailable {
  return new SourceUnavailable('bad-answer', detail);
}
