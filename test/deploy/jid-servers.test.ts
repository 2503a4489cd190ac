/**
 * Warder's stringprep beside that of the servers: Prosody's always, ejabberd's where erlang-p1-stringprep is installed.
 * Every code point that Unicode assigns, alone and with marks, and random strings of those that normalisation is about.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringprep } from '../../src/wire/stringprep.ts';

const parts = ['node', 'domain', 'resource'] as const;
type PartText = readonly [part: number, text: string];

const folder = mkdtempSync(join(tmpdir(), 'warder-test-jids-'));
const ejabberd = (script: string, ...args: string[]) => spawnSync('escript', [script, ...args], { encoding: 'utf8' });
const scripts = fileURLToPath(new URL('jid-servers/', import.meta.url));

function encode(texts: readonly PartText[]): Buffer {
  return Buffer.concat(
    texts.map(([part, text]) => {
      const bytes = Buffer.from(text);
      const head = Buffer.alloc(5);
      head.writeUInt8(part);
      head.writeUInt32BE(bytes.length, 1);
      return Buffer.concat([head, bytes]);
    }),
  );
}

/** The server's answers; undefined where it refuses. */
function decode(bytes: Buffer): (string | undefined)[] {
  const answers: (string | undefined)[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at);
    at += 4;
    const refused = length === 0xffffffff;
    answers.push(refused ? undefined : bytes.toString('utf8', at, at + length));
    if (!refused) at += length;
  }
  return answers;
}

function ours([part, text]: PartText): string | undefined {
  const refused = new Error('refused');
  try {
    return stringprep(text, parts[part] ?? 'node', () => {
      throw refused;
    });
  } catch (error) {
    if (error === refused) return undefined;
    throw error;
  }
}

/** Linear congruential, so that what fails once fails again. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

function allTexts(): PartText[] {
  const all: PartText[] = [];
  const add = (text: string) => parts.forEach((_, part) => all.push([part, text]));
  const marks: string[] = [];
  const changing: string[] = [];
  const rightToLeft: string[] = [];
  for (let code = 0; code < 0x110000; code += code >= 0x32400 && (code < 0xe0000 || code > 0xe1000) ? 61 : 1) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const char = String.fromCodePoint(code);
    add(char);
    if (/\p{M}/u.test(char)) marks.push(char);
    else if (/\p{Script=Hebrew}|\p{Script=Arabic}/u.test(char)) rightToLeft.push(char);
    else if (char.normalize('NFKD') !== char || char.toLowerCase() !== char) changing.push(char);
  }
  for (const char of [...changing, ...marks, ...rightToLeft]) {
    add(`${char}\u0301`);
    add(`a${char}`);
    add(`\u05d0${char}\u05d0`);
  }
  const random = randomFrom(4711);
  const pools = [changing, marks, marks, marks, rightToLeft];
  for (let i = 0; i < 60_000; i += 1) {
    const pool = i % 7 === 0 ? [rightToLeft, rightToLeft, marks] : pools;
    const chars = Array.from({ length: 1 + random(6) }, () => {
      const from = pool[random(pool.length)] ?? marks;
      return from[random(from.length)] ?? '';
    });
    all.push([i % 3, chars.join('')]);
  }
  return all;
}

const all = allTexts();
const input = join(folder, 'in');
let mine: (string | undefined)[] = [];
let prosody: (string | undefined)[] = [];

beforeAll(() => {
  writeFileSync(input, encode(all));
  const output = join(folder, 'prosody');
  const ended = spawnSync('lua5.4', [join(scripts, 'prosody.lua'), input, output], { encoding: 'utf8' });
  expect(ended.stderr).toBe('');
  prosody = decode(readFileSync(output));
  mine = all.map(ours);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Those that `isWrong` finds, as code points, so that a failure names them. */
function wrong(isWrong: (index: number) => boolean): string[] {
  return all
    .filter((_, index) => isWrong(index))
    .slice(0, 20)
    .map(([part, text]) => `${parts[part]} ${[...text].map((char) => char.codePointAt(0)?.toString(16)).join(' ')}`);
}

describe('a part of a JID', () => {
  it('is what Prosody makes of it, or refused', () => {
    expect(prosody).toHaveLength(all.length);
    expect(wrong((index) => mine[index] !== undefined && mine[index] !== prosody[index])).toEqual([]);
  });

  it.skipIf(ejabberd(join(scripts, 'ejabberd.escript'), '/dev/null', '/dev/null').status !== 0)(
    'is what ejabberd makes of it if it accepts it, and refused only if one of the servers refuses it or they differ',
    { timeout: 60_000 },
    () => {
      const output = join(folder, 'ejabberd');
      expect(ejabberd(join(scripts, 'ejabberd.escript'), input, output).status).toBe(0);
      const theirs = decode(readFileSync(output));
      expect(theirs).toHaveLength(all.length);
      const refusedInVain = (index: number) => mine[index] === undefined && theirs[index] !== undefined;
      const differs = (index: number) => theirs[index] !== undefined && theirs[index] !== mine[index];
      expect(wrong((index) => refusedInVain(index) && theirs[index] === prosody[index])).toEqual([]);
      expect(wrong((index) => mine[index] !== undefined && differs(index))).toEqual([]);
    },
  );
});
