/** Which text can stand in XML at all. Anything else, put onto a stream, ends it. */

/** XML 1.0 section 2.2, Char. */
const forbidden = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

export function isXmlText(text: string): boolean {
  return !forbidden.test(text);
}

/** As much of a text as fits, in UTF-16 units, without half a character at its end and without what XML forbids. */
export function toXmlText(text: string, maxLength: number): string {
  const cut = text.slice(0, maxLength).replace(/[\ud800-\udbff]$/, '');
  return cut.replaceAll(new RegExp(forbidden, 'gu'), '\ufffd');
}
