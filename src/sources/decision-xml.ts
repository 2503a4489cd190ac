/**
 * The XML in a decision that came from outside. Hooks put it onto streams of clients and servers, where anything that is
 * not well-formed, or not what it claims to be, costs the stream; so it is looked at once, here.
 */
import type { Element } from '@xmpp/xml';
import { MalformedXml } from '../wire/malformed.ts';
import type { Decision, StanzaError } from '../wire/replies.ts';
import type { StanzaCheck } from '../wire/requests.ts';
import { readStanzaError } from '../wire/stanza-error.ts';
import { parseXml } from '../wire/xml.ts';
import { SourceUnavailable } from './source.ts';
import type { Question } from './source.ts';
import { isXmlText } from './xml-text.ts';

/** The decision, as one that may be passed on. @throws SourceUnavailable with `bad-answer` */
export function trustedDecision(decision: Decision, question: Question): Decision {
  const { verdict, error, notify, stanza } = decision;
  checkError(error);
  if (notify !== undefined) parse(notify, 'notify');
  if (verdict === 'modify') checkReplacement(stanza, question);
  return decision;
}

/** Whether an error may be passed on. @throws SourceUnavailable with `bad-answer` */
export function checkError({ xml, text }: StanzaError = {}): void {
  if (text !== undefined && !isXmlText(text)) throw bad('error.text has characters that XML forbids');
  if (xml !== undefined && readStanzaError(parse(xml, 'error.xml')) === undefined) {
    throw bad('error.xml is no stanza error (RFC 6120 section 8.3.2)');
  }
}

/** The replacement has to be the same stanza to everybody who routes, archives or answers it. */
function checkReplacement(stanza: string | undefined, question: Question): void {
  if (stanza === undefined) throw bad('modify comes with no stanza');
  if (question.operation !== 'stanza-check') throw bad(`modify is no answer to ${question.operation}`);
  const { request } = question;
  if (request.stanza === undefined) throw bad('modify replaces a stanza that was not there');
  const asked = parse(request.stanza, 'the asked stanza');
  const replacement = parse(stanza, 'stanza');
  const differing = differenceOf(asked, replacement, request);
  if (differing !== undefined) throw bad(`the replacement has another ${differing} than the stanza that it replaces`);
}

function differenceOf(asked: Element, replacement: Element, { kind }: StanzaCheck): string | undefined {
  if (replacement.name !== kind || replacement.name !== asked.name) return 'name';
  return ['from', 'to', 'id'].find((name) => replacement.attrs[name] !== asked.attrs[name]);
}

function parse(xml: string, what: string): Element {
  try {
    return parseXml(xml);
  } catch (error) {
    if (!(error instanceof MalformedXml)) throw error;
    throw new SourceUnavailable('bad-answer', `${what} is not well-formed: ${error.message}`, { cause: error });
  }
}

function bad(detail: string): SourceUnavailable {
  return new SourceUnavailable('bad-answer', detail);
}
