// Owns JIDs: their parts and the one normal form in which every decision, cache key and invalidation names them.
import { InvalidJid } from './malformed.ts';
import { stringprep } from './stringprep.ts';
import type { Part } from './stringprep.ts';

export { InvalidJid } from './malformed.ts';

/** A JID in normal form. `node` and `resource` are '' when absent; `full` is `bare` when there is no resource. */
export interface Jid {
  readonly full: string;
  readonly bare: string;
  readonly node: string;
  readonly domain: string;
  readonly resource: string;
}

/** RFC 6122 section 2.1, in bytes of UTF-8. */
const maxPartBytes = 1023;

/** What may stand in each part and is its own normal form, so that nothing has to be done: 1 node, 2 domain, 4 resource. */
const plainNode = plain(/[^A-Z\s"&'/:<>@]/);
const plainDomain = plain(/[a-z0-9_.:[\]-]/);
const plainResource = plain(/[\x20-\x7e]/);

function plain(pattern: RegExp): Uint8Array {
  const allowed = new Uint8Array(128);
  for (let code = 0x20; code < 0x7f; code += 1) allowed[code] = pattern.test(String.fromCharCode(code)) ? 1 : 0;
  return allowed;
}

/**
 * Parses a JID into its normal form, the one that XMPP servers use.
 * @throws {InvalidJid} for what is no JID, and for what Prosody and ejabberd normalise differently.
 */
export function parseJid(text: string): Jid {
  const slash = text.indexOf('/');
  const bareEnd = slash === -1 ? text.length : slash;
  const found = text.indexOf('@');
  const at = found > bareEnd ? -1 : found;
  if (
    bareEnd <= maxPartBytes &&
    text.length - bareEnd <= maxPartBytes &&
    (at === -1 || (at > 0 && isPlain(text, 0, at, plainNode))) &&
    isPlainDomain(text, at + 1, bareEnd) &&
    (slash === -1 || (slash + 1 < text.length && isPlain(text, slash + 1, text.length, plainResource)))
  ) {
    const bare = slash === -1 ? text : text.slice(0, slash);
    return {
      full: text,
      bare,
      node: at === -1 ? '' : text.slice(0, at),
      domain: at === -1 ? bare : text.slice(at + 1, bareEnd),
      resource: slash === -1 ? '' : text.slice(slash + 1),
    };
  }
  return parseSlowly(text, at, bareEnd);
}

/**
 * Parses a JID that must have no resource.
 * @throws {InvalidJid} as parseJid, and when there is a resource.
 */
export function parseBareJid(text: string): Jid {
  const jid = parseJid(text);
  if (jid.resource !== '') throw invalid(text, 'has a resource; a bare JID (user@domain) is wanted');
  return jid;
}

function isPlain(text: string, from: number, to: number, allowed: Uint8Array): boolean {
  for (let i = from; i < to; i += 1) if (allowed[text.charCodeAt(i)] !== 1) return false;
  return true;
}

/** Dots at either end or together are left to the slow path. */
function isPlainDomain(text: string, from: number, to: number): boolean {
  let previous = 0x2e;
  for (let i = from; i < to; i += 1) {
    const code = text.charCodeAt(i);
    if (plainDomain[code] !== 1 || (code === 0x2e && previous === 0x2e)) return false;
    previous = code;
  }
  return previous !== 0x2e;
}

function parseSlowly(text: string, at: number, bareEnd: number): Jid {
  const node = at === -1 ? '' : prepare(text, text.slice(0, at), 'node');
  const domain = prepare(text, text.slice(at + 1, bareEnd), 'domain');
  const resource = bareEnd === text.length ? '' : prepare(text, text.slice(bareEnd + 1), 'resource');
  // nameprep lets them pass, or makes them of others (U+FF20, U+FF0F); ejabberd's parser refuses most of them before.
  if (/[@/\s\p{Cc}]/u.test(domain)) {
    throw invalid(text, "has '@', '/', a space or a control character in its domain; a host name is wanted");
  }
  if (/^\.|\.\.|\.$/.test(domain)) throw invalid(text, 'has an empty label in its domain; a host name is wanted');
  const bare = at === -1 ? domain : `${node}@${domain}`;
  return { full: bareEnd === text.length ? bare : `${bare}/${resource}`, bare, node, domain, resource };
}

function prepare(text: string, raw: string, part: Part): string {
  if (raw === '') throw invalid(text, `has an empty ${part}; a JID is [node@]domain[/resource]`);
  if (raw.length > maxPartBytes || Buffer.byteLength(raw) > maxPartBytes) throw tooLong(text, part);
  const prepared = stringprep(raw, part, (problem) => {
    throw invalid(text, `${problem}, in its ${part}`);
  });
  if (prepared === '') throw invalid(text, `has a ${part} of which nothing is left in normal form`);
  if (Buffer.byteLength(prepared) > maxPartBytes) throw tooLong(text, part);
  return prepared;
}

function tooLong(text: string, part: Part): InvalidJid {
  return invalid(text, `has a ${part} over ${maxPartBytes} bytes`);
}

function invalid(text: string, problem: string): InvalidJid {
  const quoted = JSON.stringify(text.slice(0, 80));
  return new InvalidJid(`${quoted.length > 90 ? `${quoted.slice(0, 90)}…` : quoted} ${problem}`);
}
