// Owns XML: text to one @xmpp/xml Element, as strictly as RFC 6120 section 11 wants. Of stanzas it knows only where a body may be.
import { Element } from '@xmpp/xml';
import { SaxesParser } from 'saxes';
import { MalformedXml } from './malformed.ts';

export interface XmlLimits {
  /** In UTF-16 code units. A whole payload is smaller by default. */
  readonly maxLength?: number;
  /** Whether `<?xml …?>` may come first: in the bodies of HTTP services it does, in a stanza it may not. */
  readonly declaration?: boolean;
}

const defaultMaxLength = 1_048_576;

/** No stanza nests like that; @xmpp/xml serialises by recursion. */
const maxDepth = 64;

/**
 * Parses one element. ltx, the parser of @xmpp/xml, skips over DTDs, comments and what is left unclosed, so saxes reads.
 * @throws {MalformedXml} for all that is not one well-formed element with declared prefixes, and for what RFC 6120
 * section 11.1 forbids: comments, processing instructions, DTDs, entities besides the five.
 */
export function parseXml(text: string, { maxLength = defaultMaxLength, declaration = false }: XmlLimits = {}): Element {
  if (text.length > maxLength) throw new MalformedXml(`over ${maxLength} characters`);
  // saxes takes the character after half a pair for the other half, be it a `<`.
  if (/\p{Surrogate}/u.test(text)) throw new MalformedXml('half a surrogate pair');
  const parser = new SaxesParser({ xmlns: true, position: false, defaultXMLVersion: '1.0', forceXMLVersion: true });
  let root: Element | undefined;
  const open: Element[] = [];
  parser.on('error', (error) => {
    throw new MalformedXml(error.message.slice(0, 200));
  });
  parser.on('xmldecl', () => {
    if (!declaration) throw new MalformedXml('an XML declaration is not allowed');
  });
  parser.on('doctype', () => {
    throw new MalformedXml('a DTD is not allowed');
  });
  parser.on('comment', () => {
    throw new MalformedXml('a comment is not allowed');
  });
  parser.on('processinginstruction', () => {
    throw new MalformedXml('a processing instruction is not allowed');
  });
  parser.on('opentag', (tag) => {
    if (open.length === maxDepth) throw new MalformedXml(`nested more than ${maxDepth} deep`);
    const element = new Element(tag.name);
    for (const { name, value } of Object.values(tag.attributes)) element.attrs[name] = value;
    open.at(-1)?.append(element);
    root ??= element;
    open.push(element);
  });
  parser.on('closetag', () => {
    open.pop();
  });
  // White space around the root comes here too, and has no element to go to.
  parser.on('text', (characters) => open.at(-1)?.t(characters));
  parser.on('cdata', (characters) => open.at(-1)?.t(characters));
  parser.write(text).close();
  if (root === undefined) throw new MalformedXml('no element');
  return root;
}

/**
 * Whether a body element may occur anywhere in a stanza, without parsing it: never false when there is one, and true
 * for some text that only looks like one. An element's name cannot be written in any other way than letter by letter.
 */
export function hasBody(stanzaXml: string): boolean {
  return stanzaXml.includes('body') && /[<:]body[\s/>]/.test(stanzaXml);
}
