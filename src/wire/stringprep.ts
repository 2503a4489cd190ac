// Owns the three stringprep profiles of XMPP addresses (RFC 3454 with RFC 3920 appendices A and B, and RFC 3491).
// It knows code points, not JIDs.
import { classes, combiningRuns, corrections, folds, runs } from './stringprep-tables.ts';

/** nodeprep, nameprep and resourceprep, by the part of the JID that they prepare. */
export type Part = 'node' | 'domain' | 'resource';

/** Called with what is wrong, in a few words; it must throw. */
export type Refuse = (problem: string) => never;

/** One set of tables for all profiles: 1.2 MB, built when the first part comes that is not plain ASCII. */
interface Tables {
  readonly classOf: Uint8Array;
  readonly combiningClassOf: Uint8Array;
  readonly folded: ReadonlyMap<number, string>;
  readonly corrected: ReadonlyMap<number, string>;
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
  const corrected = parseMapping(corrections);
  const folded = new Map([...corrected, ...parseMapping(folds)]);
  for (let code = 0x41; code <= 0x5a; code += 1) folded.set(code, String.fromCharCode(code + 0x20));
  return { classOf: parseRuns(runs), combiningClassOf: parseRuns(combiningRuns), folded, corrected };
}

function parseRuns(text: string): Uint8Array {
  const values = new Uint8Array(0x110000);
  let at = 0;
  for (const run of text.split(' ')) {
    const [length = '', value = ''] = run.split(':');
    const end = at + Number.parseInt(length, 36);
    values.fill(Number.parseInt(value, 36), at, end);
    at = end;
  }
  return values;
}

function parseMapping(text: string): Map<number, string> {
  const mapping = new Map<number, string>();
  for (const entry of text.split(' ')) {
    const [from = '', to = ''] = entry.split(':');
    const codes = to.split(',').map((code) => Number.parseInt(code, 36));
    mapping.set(Number.parseInt(from, 36), String.fromCodePoint(...codes));
  }
  return mapping;
}

/**
 * Maps, normalises (NFKC of Unicode 3.2) and checks one part as the profile says. Code points that Unicode 3.2 does not
 * assign pass unchanged, as in a stringprep "query" and as on the servers: nicknames are full of them.
 */
export function stringprep(text: string, part: Part, refuse: Refuse): string {
  // Most parts are ASCII, and in ASCII `toLowerCase` does what table B.2 does.
  if (/^[ -~]*$/.test(text) && !(part === 'node' && /[ "&'/:<>@]/.test(text))) {
    return part === 'resource' ? text : text.toLowerCase();
  }
  tables ??= loadTables();
  const { classOf } = tables;
  const prepared = normalize(map(text, part, tables, refuse), tables, refuse);
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

function map(text: string, part: Part, { classOf, corrected, folded }: Tables, refuse: Refuse): string {
  const mapping = part === 'resource' ? corrected : folded;
  let mapped = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (dropped[classOf[code] ?? 0]) continue;
    if (code === 0x33c6 && part !== 'resource') refuse('has the character U+33C6, which servers do not fold alike');
    mapped += mapping.get(code) ?? char;
  }
  return mapped;
}

/** NFKC of the runs that Unicode 3.2 assigns. What came later is left alone, also as a barrier to composition. */
function normalize(text: string, { classOf, combiningClassOf }: Tables, refuse: Refuse): string {
  let result = '';
  let run = '';
  for (const char of text) {
    if (unassigned[classOf[char.codePointAt(0) ?? 0] ?? 0]) {
      result += normalizeRun(run, combiningClassOf, refuse) + char;
      run = '';
    } else run += char;
  }
  return result + normalizeRun(run, combiningClassOf, refuse);
}

/** NFKC of a run without unassigned code points, if Prosody and ejabberd make the same of it. */
function normalizeRun(run: string, combiningClassOf: Uint8Array, refuse: Refuse): string {
  const normal = run.normalize('NFKC');
  // It takes three marks to leave one of them behind.
  if (!/\p{M}{3}/u.test(run.normalize('NFKD'))) return normal;
  const unsorted = sortAsEjabberd(run, combiningClassOf);
  if (unsorted && compose(unsorted, combiningClassOf) !== normal) {
    refuse('has combining marks in an order that servers do not agree on');
  }
  return normal;
}

/**
 * ejabberd sorts combining marks only back to the last one that was not lower than the one it began with. Returns its
 * decomposed form if that leaves marks unsorted, which NFKC never does.
 */
function sortAsEjabberd(run: string, combiningClassOf: Uint8Array): readonly string[] | undefined {
  const sorted: string[] = [];
  const classAt = (index: number) => combiningClassOf[sorted[index]?.codePointAt(0) ?? 0] ?? 0;
  let begin = 0;
  let barrier = 0;
  let complete = true;
  for (const char of run) {
    for (const decomposed of char.normalize('NFKD')) {
      const combining = combiningClassOf[decomposed.codePointAt(0) ?? 0] ?? 0;
      if (combining === 0 || combining >= barrier) {
        begin = sorted.length;
        barrier = combining;
        sorted.push(decomposed);
        continue;
      }
      let at = sorted.length;
      while (at > begin && classAt(at - 1) > combining) at -= 1;
      if (at > 0 && classAt(at - 1) > combining) complete = false;
      sorted.splice(at, 0, decomposed);
    }
  }
  return complete ? undefined : sorted;
}

/** Canonical composition of text that need not be sorted; String.normalize would sort it. */
function compose(decomposed: readonly string[], combiningClassOf: Uint8Array): string {
  let result = '';
  let starter = '';
  let marks = '';
  let previous = 0;
  for (const char of decomposed) {
    const combining = combiningClassOf[char.codePointAt(0) ?? 0] ?? 0;
    const composed = previous === 0 || combining > previous ? composePair(starter, char) : '';
    if (composed !== '') {
      starter = composed;
    } else if (combining === 0) {
      result += starter + marks;
      starter = char;
      marks = '';
      previous = 0;
    } else {
      marks += char;
      previous = combining;
    }
  }
  return result + starter + marks;
}

/** The character that is the canonical composition of these two, in this order, or ''. */
function composePair(starter: string, mark: string): string {
  const composed = (starter + mark).normalize('NFC');
  const isOne = starter !== '' && [...composed].length === 1;
  return isOne && composed.normalize('NFD') === starter.normalize('NFD') + mark ? composed : '';
}

function hex(code: number): string {
  return code.toString(16).toUpperCase().padStart(4, '0');
}
