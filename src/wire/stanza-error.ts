// Owns stanza errors as XML (RFC 6120 section 8.3). It does not know who denied what.
import type { Element } from '@xmpp/xml';
import { stanzaConditions, stanzaErrorTypes } from './replies.ts';
import type { StanzaCondition, StanzaErrorType } from './replies.ts';

const stanzasNamespace = 'urn:ietf:params:xml:ns:xmpp-stanzas';

/** The parts of a valid stanza error. */
export interface ReadStanzaError {
  readonly type: StanzaErrorType;
  readonly condition: StanzaCondition;
  readonly text?: string;
}

/**
 * Reads an `<error/>` of whatever namespace: its type, its one defined condition, and its text if there is one.
 * Returns undefined for anything that RFC 6120 section 8.3.2 does not allow.
 */
export function readStanzaError(element: Element): ReadStanzaError | undefined {
  if (element.getName() !== 'error') return undefined;
  const type = stanzaErrorTypes.find((known) => known === element.attrs['type']);
  const children = element.getChildElements().filter((child) => child.getNS() === stanzasNamespace);
  const texts = children.filter((child) => child.getName() === 'text');
  const [named, ...more] = children.filter((child) => child.getName() !== 'text');
  const condition = named?.getName();
  if (type === undefined || condition === undefined || more.length > 0 || !isCondition(condition)) return undefined;
  const text = texts[0]?.getText();
  return text === undefined || text === '' ? { type, condition } : { type, condition, text };
}

function isCondition(name: string): name is StanzaCondition {
  return Object.hasOwn(stanzaConditions, name);
}
