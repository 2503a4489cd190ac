import { Element } from '@xmpp/xml';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { MalformedXml } from '../../src/wire/malformed.ts';
import { hasBody, parseXml } from '../../src/wire/xml.ts';
import type { XmlLimits } from '../../src/wire/xml.ts';

// Inputs of 10 MB take their time where other work runs beside; nothing here waits for a clock.
vi.setConfig({ testTimeout: 60_000 });

function parsed(text: string, limits?: XmlLimits): Element | MalformedXml {
  try {
    return parseXml(text, limits);
  } catch (error) {
    if (error instanceof MalformedXml) return error;
    throw error;
  }
}

const name = fc.constantFrom('a', 'body', 'message', 'x-1', 'über');
const text = fc
  .string({ unit: 'binary', maxLength: 20 })
  // eslint-disable-next-line no-control-regex -- these are the characters that XML 1.0 has no way to write
  .map((chars) => chars.replace(/[\0-\x08\x0b-\x1f\ufffe\uffff]/g, ''));
const { element: anyElement } = fc.letrec<{ element: Element; child: Element | string }>((tie) => ({
  element: fc
    .record({
      name,
      xmlns: fc.option(fc.constantFrom('jabber:client', 'urn:x')),
      note: fc.option(text),
      children: fc.array(tie('child'), { maxLength: 4 }),
    })
    .map(({ name: of, xmlns, note, children }) => {
      const element = new Element(of, { ...(xmlns && { xmlns }), ...(note && { note: note.replace(/\s/g, ' ') }) });
      element.append(...children.filter((child) => child !== ''));
      return element;
    }),
  child: fc.oneof({ maxDepth: 5 }, text, tie('element')),
}));

const pieces = [
  '<',
  '>',
  '/',
  '</',
  '/>',
  '<a',
  '<a>',
  '</a>',
  '<body/>',
  '&',
  '&amp;',
  '&#0;',
  '&#x41;',
  '&x;',
  '<!--',
  '-->',
]
  .concat([
    '<![CDATA[',
    ']]>',
    '<!DOCTYPE a [<!ENTITY x "y">]>',
    '<?p ?>',
    '<?xml version="1.0"?>',
    'xmlns="u"',
    ' b="1"',
  ])
  .concat(["xmlns:p='u'", 'p:', '"', "'", '=', ' ', '\0', '\ud800', '\ufffe', '\ufeff', 'ü', ':', 'x']);
/** Text that breaks XML where it can. */
const nearlyXml = fc.array(fc.constantFrom(...pieces), { maxLength: 20 }).map((some) => some.join(''));

describe('XML', () => {
  it('becomes the element that was written', () => {
    fc.assert(
      fc.property(anyElement, (element) => {
        const xml = element.toString();
        expect(parseXml(xml).toString()).toBe(xml);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps attributes, prefixes, text, the five entities, numeric ones and CDATA', () => {
    const root = parseXml(
      `<m xmlns='jabber:client' xmlns:p="urn:p" p:a='1&lt;"&#x1F600;'>a&amp;&apos;&quot;<p:b/><![CDATA[<c/>]]>&#233;</m>`,
    );
    expect(root.name).toBe('m');
    expect(root.attrs).toEqual({ xmlns: 'jabber:client', 'xmlns:p': 'urn:p', 'p:a': '1<"\u{1f600}' });
    expect(root.getText()).toBe(`a&'"<c/>é`);
    expect(root.getChild('b', 'urn:p')?.parent).toBe(root);
  });

  it('may have white space around it, and a declaration where that is allowed', () => {
    expect(parseXml(' \r\n<a/>\n').name).toBe('a');
    expect(parseXml('<?xml version="1.0" encoding="UTF-8"?>\n<a/>', { declaration: true }).name).toBe('a');
    expect(parsed('<a/><?xml version="1.0"?>', { declaration: true })).toBeInstanceOf(MalformedXml);
  });

  it('may be 64 deep and not deeper', () => {
    const nested = (depth: number) => '<a>'.repeat(depth) + '</a>'.repeat(depth);
    expect(parseXml(nested(64)).toString()).toContain('<a/>');
    expect(parsed(nested(65))).toBeInstanceOf(MalformedXml);
  });

  it.each([
    ['', 'root'],
    ['text', 'outside of root'],
    ['<a', 'root'],
    ['<a>', 'unclosed'],
    ['<a></b>', 'unexpected close tag'],
    ['<a/><b/>', 'only one root'],
    ['<a/>text', 'outside of root'],
    ['<!DOCTYPE a><a/>', 'DTD'],
    ['<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'DTD'],
    ['<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'DTD'],
    ['<a>&b;</a>', 'entity'],
    ['<a b="&c;"/>', 'entity'],
    ['<a>&#0;</a>', 'entity'],
    ['<a>&#xD800;</a>', 'entity'],
    ['<a>& </a>', 'unclosed'],
    ['<a>\0</a>', 'character'],
    ['<a>\ufffe</a>', 'character'],
    ['<a>\ud800</a>', 'surrogate'],
    ['<a><!-- b --></a>', 'comment'],
    ['<!-- b --><a/>', 'comment'],
    ['<a/><!-- b -->', 'comment'],
    ['<a><?b?></a>', 'processing instruction'],
    ['<?xml version="1.0"?><a/>', 'declaration'],
    ['<p:a/>', 'prefix'],
    ['<a p:b="1"/>', 'prefix'],
    ['<a xmlns:p=""/>', 'prefix'],
    ['<a b="1" b="2"/>', 'duplicate'],
    ['<a xmlns:p="u" xmlns:q="u" p:b="1" q:b="2"/>', 'duplicate'],
    ['<a b/>', 'attribute'],
    ['<a b=1/>', 'attribute'],
    ['<a b="<"/>', 'character'],
    ['<a b="1"c="2"/>', 'space'],
    ['<a>]]></a>', ']]>'],
    ['<1/>', 'character'],
    ['< a/>', 'character'],
  ])('%j is refused: %s', (xml, reason) => {
    expect(() => parseXml(xml)).toThrow(MalformedXml);
    expect(() => parseXml(xml)).toThrow(new RegExp(reason.replace(/[\]]/g, '\\$&'), 'i'));
  });
});

describe('hostile XML', () => {
  it('is an element or a defined error, whatever it is', () => {
    fc.assert(
      fc.property(nearlyXml, fc.string({ unit: 'binary' }), (near, noise) => {
        for (const xml of [near, `<a>${near}</a>`, `<a ${near}/>`, noise, `<a>${noise}</a>`]) {
          const element = parsed(xml);
          if (element instanceof Element) expect(parsed(element.toString())).toBeInstanceOf(Element);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('is an element or a defined error when it is valid with a character changed, or cut', () => {
    fc.assert(
      fc.property(
        anyElement,
        fc.nat(),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        (element, at, char) => {
          const xml = element.toString();
          parsed(xml.slice(0, at % xml.length) + char + xml.slice((at % xml.length) + 1));
          expect(parsed(xml.slice(0, at % xml.length))).toBeInstanceOf(MalformedXml);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is refused unread over the limit: 1 Mi characters unless configured', () => {
    expect(parsed(`<a>${'x'.repeat(10_000_000)}</a>`)).toMatchObject({ message: 'over 1048576 characters' });
    expect(parsed('<a>xx</a>', { maxLength: 8 })).toMatchObject({ message: 'over 8 characters' });
    expect(parseXml('<a>x</a>', { maxLength: 8 }).getText()).toBe('x');
  });

  it('of 10 MB is refused, where the limit allows it to be read', () => {
    const limits = { maxLength: 20_000_000 };
    for (const xml of [
      '<a>'.repeat(3_333_333),
      `<!DOCTYPE a [${'<!ENTITY b "&b;&b;">'.repeat(500_000)}]><a>&b;</a>`,
      `<a>&${'x'.repeat(10_000_000)}`,
      `<a>${'<![CDATA['.repeat(1_111_111)}`,
    ]) {
      expect(parsed(xml, limits)).toBeInstanceOf(MalformedXml);
    }
  });

  it('leaves the prototype of objects alone', () => {
    const element = parseXml('<a __proto__="x" constructor="y"><__proto__/></a>');
    expect(Object.getPrototypeOf(element.attrs)).toBe(Object.prototype);
    expect(element.attrs['constructor']).toBe('y');
  });
});

describe('the search for a body', () => {
  it('finds one wherever the parser does', () => {
    fc.assert(
      fc.property(nearlyXml, anyElement, (near, element) => {
        for (const xml of [`<m>${near}</m>`, element.toString()]) {
          const root = parsed(xml);
          if (root instanceof Element && contains(root, 'body')) expect(hasBody(xml)).toBe(true);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['<message><body>hi</body></message>', true],
    ['<message><body/></message>', true],
    ["<message><body xml:lang='en'>hi</body></message>", true],
    ['<message><body\n>hi</body></message>', true],
    ['<p:message xmlns:p="jabber:client"><p:body>hi</p:body></p:message>', true],
    ['<message><html xmlns="urn:x"><body>hi</body></html></message>', true],
    ['<message><composing xmlns="http://jabber.org/protocol/chatstates"/></message>', false],
    ['<message><subject>body</subject></message>', false],
    ['<message><somebody/><bodyguard/></message>', false],
    ['<message><x>&lt;body&gt;</x></message>', false],
  ])('says of %s: %s', (xml, found) => expect(hasBody(xml)).toBe(found));

  it('takes no time to speak of for 10 MB', () => {
    for (const unit of ['body', '<', '<body', ':body', ' ']) {
      expect(hasBody(unit.repeat(10_000_000 / unit.length))).toBe(false);
    }
  });
});

function contains(element: Element, wanted: string): boolean {
  return element.getName() === wanted || element.getChildElements().some((child) => contains(child, wanted));
}
