// Owns the three stringprep profiles of XMPP addresses (RFC 3454 with RFC 3920 appendices A and B, and RFC 3491).
// It knows code points, not JIDs.
import { classes, folds, runs } from './stringprep-tables.ts';

/** nodeprep, nameprep and resourceprep, by the part of the JID that they prepare. */
export type Part = 'node' | 'domain' | 'resource';

/** One table for all profiles: 1.1 MB once, built when the first part comes that is not plain ASCII. */
interface Tables {
  readonly classOf: Uint8Array;
  readonly folded: ReadonlyMap<number, string>;
}

let tables: Tables | undefined;

const dropped = flagsOf('dropped');
const unassigned = flagsOf('unassigned');
const rightToLeft = flagsOf('randal');
const leftToRight = flagsOf('left');
const prohibited = { node: flagsOf('node'), domain: flagsOf('name'), resource: flagsOf('resource') };

function flagsOf(table: string): readonly boolean[] {
  return classes.map((found) => found.includes(table));
}

function loadTables(): Tables {
  const classOf = new Uint8Array(0x110000);
  let at = 0;
  for (const run of runs.split(' ')) {
    const [length = '', index = ''] = run.split(':');
    const end = at + Number.parseInt(length, 36);
    classOf.fill(Number.parseInt(index, 36), at, end);
    at = end;
  }
  const folded = new Map<number, string>();
  for (const fold of folds.split(' ')) {
    const [from = '', to = ''] = fold.split(':');
    folded.set(
      Number.parseInt(from, 36),
      String.fromCodePoint(...to.split(',').map((code) => Number.parseInt(code, 36))),
    );
  }
  for (let code = 0x41; code <= 0x5a; code += 1) folded.set(code, String.fromCharCode(code + 0x20));
  return { classOf, folded };
}

/**
 * Maps, normalises (NFKC of Unicode 3.2) and checks one part as the profile says. Code points that Unicode 3.2 does not
 * assign pass unchanged, as in a stringprep "query" and as on the servers: nicknames are full of them.
 * @param refuse called with what is wrong, in a few words; it must throw.
 */
export function stringprep(text: string, part: Part, refuse: (problem: string) => never): string {
  tables ??= loadTables();
  const { classOf, folded } = tables;
  let mapped = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (dropped[classOf[code] ?? 0]) continue;
    mapped += part === 'resource' ? char : (folded.get(code) ?? char);
  }
  const prepared = normalize(mapped, classOf);
  let left = false;
  let right = false;
  let first: number | undefined;
  let last = 0;
  for (const char of prepared) {
    const code = char.codePointAt(0) ?? 0;
    const found = classOf[code] ?? 0;
    if (prohibited[part][found]) refuse(`has the character U+${hex(code)}, which is not allowed there`);
    if (rightToLeft[found]) right = true;
    if (leftToRight[found]) left = true;
    first ??= found;
    last = found;
  }
  // RFC 3454 section 6.
  if (right && (left || !rightToLeft[first ?? 0] || !rightToLeft[last])) {
    refuse('mixes right-to-left and left-to-right text');
  }
  return prepared;
}

/** NFKC of the runs that Unicode 3.2 assigns. What came later is left alone, also as a barrier to composition. */
function normalize(text: string, classOf: Uint8Array): string {
  let result = '';
  let run = '';
  for (const char of text) {
    if (unassigned[classOf[char.codePointAt(0) ?? 0] ?? 0]) {
      result += run.normalize('NFKC') + char;
      run = '';
    } else run += char;
  }
  return result + run.normalize('NFKC');
}

function hex(code: number): string {
  return code.toString(16).toUpperCase().padStart(4, '0');
}
