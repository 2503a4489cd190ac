/** From the options of `warder check` to the question that a hook would ask. */
import xml from '@xmpp/xml';
import type { Element } from '@xmpp/xml';
import type { Jid } from '../wire/jid.ts';
import { InvalidJid, parseJid } from '../wire/jid.ts';
import { MalformedXml } from '../wire/malformed.ts';
import { parseXml } from '../wire/xml.ts';

/** The command line contradicts itself, or lacks something. */
export class UsageProblem extends Error {
  override readonly name = 'UsageProblem';
}

export const kinds = ['message', 'presence', 'iq'] as const;
export type Kind = (typeof kinds)[number];
export const hooks = ['send', 'route', 'local', 'receive', 'offline'] as const;
export const joinEvents = ['join', 'nick-change', 'subscribe'] as const;

export interface StanzaOptions {
  from?: Jid;
  to?: Jid;
  kind?: Kind;
  type?: string;
  hook: (typeof hooks)[number];
  body?: string;
}

export interface StanzaQuestion {
  hook: string;
  from: string;
  to: string;
  kind: Kind;
  type: string;
  stanza: string;
}

/**
 * The question of stanza-check. What a given stanza says itself need not be said again.
 * @param stanza the XML of a stanza; without one, a small stanza is made
 * @throws UsageProblem
 */
export function stanzaQuestion(options: StanzaOptions, stanza: string | undefined): StanzaQuestion {
  const element = stanza === undefined ? undefined : readStanza(stanza);
  if (element !== undefined && options.body !== undefined) {
    throw new UsageProblem('--body is for the message that is made without --stanza; leave one of them out');
  }
  const kind = (sameOf('--kind', options.kind, element?.name) ?? 'message') as Kind;
  const from = sameOf('--from', options.from?.full, jidOf(element, 'from'));
  const to = sameOf('--to', options.to?.full, jidOf(element, 'to'));
  if (from === undefined) throw new UsageProblem('who sends it? Give --from user@domain');
  if (to === undefined) throw new UsageProblem('who is it for? Give --to user@domain');
  const written: unknown = element?.attrs['type'];
  const type =
    sameOf('--type', options.type, element === undefined ? undefined : String(written ?? '')) ?? defaultTypes[kind];
  const text = stanza ?? smallStanza({ kind, type, from, to, body: options.body }).toString();
  return { hook: options.hook, from, to, kind, type, stanza: text };
}

const defaultTypes: Record<Kind, string> = { message: 'chat', presence: '', iq: 'get' };

function readStanza(text: string): Element {
  try {
    const element = parseXml(text);
    if (kinds.some((kind) => kind === element.name)) return element;
    throw new UsageProblem(`the stanza is <${element.name}>; it must be <message>, <presence> or <iq>`);
  } catch (error) {
    if (error instanceof MalformedXml) throw new UsageProblem(`the stanza is no well-formed XML: ${error.message}`);
    throw error;
  }
}

function jidOf(element: Element | undefined, name: 'from' | 'to'): string | undefined {
  const text: unknown = element?.attrs[name];
  if (typeof text !== 'string') return undefined;
  try {
    return parseJid(text).full;
  } catch (error) {
    if (error instanceof InvalidJid) throw new UsageProblem(`the stanza's "${name}": ${error.message}`);
    throw error;
  }
}

function sameOf<T extends string>(
  option: string,
  given: T | undefined,
  written: string | undefined,
): string | undefined {
  if (given !== undefined && written !== undefined && given !== written) {
    throw new UsageProblem(
      `${option} is ${given}, and the stanza says ${written === '' ? 'nothing' : written}; leave ${option} out`,
    );
  }
  return given ?? written;
}

function smallStanza({
  kind,
  type,
  from,
  to,
  body,
}: Record<'kind' | 'type' | 'from' | 'to', string> & { body?: string | undefined }): Element {
  const attributes = { xmlns: 'jabber:client', from, to, id: 'warder-check', ...(type === '' ? {} : { type }) };
  switch (kind) {
    case 'message':
      return xml('message', attributes, xml('body', {}, body ?? 'Hello'));
    case 'iq':
      return xml('iq', attributes, xml('ping', { xmlns: 'urn:xmpp:ping' }));
    default:
      return xml('presence', attributes);
  }
}

/** For questions about a client: a bare JID is asked about as if it were connected with this resource. */
export const standInResource = 'warder-check';

export function connectedJid(jid: Jid): string {
  return jid.resource === '' ? `${jid.full}/${standInResource}` : jid.full;
}
