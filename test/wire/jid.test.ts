import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { InvalidJid, parseBareJid, parseJid } from '../../src/wire/jid.ts';
import type { Jid } from '../../src/wire/jid.ts';

// Inputs of 10 MB take their time where other work runs beside; nothing here waits for a clock.
vi.setConfig({ testTimeout: 60_000 });

interface Vector {
  readonly name: string;
  readonly input: string;
  readonly normal?: Jid;
  readonly reason?: string;
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/jids.json', import.meta.url), 'utf8')) as readonly Vector[];

function parsed(text: string): Jid | InvalidJid {
  try {
    return parseJid(text);
  } catch (error) {
    if (error instanceof InvalidJid) return error;
    throw error;
  }
}

/** Text that is likely to be a JID, or nearly one. */
const nearlyJid = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '@',
        '/',
        '.',
        '..',
        ' ',
        'a',
        'B',
        'ß',
        'ſ',
        'Σ',
        'İ',
        '\u00ad',
        '\uff20',
        '\uff0f',
        '\u3002',
        'א',
        '\0',
      ),
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.string({ unit: 'grapheme', maxLength: 5 }),
      fc.integer({ min: 0x300, max: 0x36f }).map((code) => String.fromCodePoint(code)),
      fc.integer({ min: 0x591, max: 0x5f4 }).map((code) => String.fromCodePoint(code)),
    ),
    { maxLength: 10 },
  )
  .map((pieces) => pieces.join(''));

describe('the normal form of a JID', () => {
  it.each(vectors.flatMap(({ name, input, normal }) => (normal ? [{ name, input, normal }] : [])))(
    'is as the servers have it: $name',
    ({ input, normal }) => expect(parseJid(input)).toEqual(normal),
  );

  it.each(vectors.flatMap(({ name, input, reason }) => (reason === undefined ? [] : [{ name, input, reason }])))(
    'does not exist: $name',
    ({ input, reason }) => expect(() => parseJid(input)).toThrow(reason),
  );

  it('is its own normal form, and its parts make it up', () => {
    fc.assert(
      fc.property(nearlyJid, (text) => {
        const jid = parsed(text);
        if (jid instanceof InvalidJid) return;
        expect(parseJid(jid.full)).toEqual(jid);
        expect(parseJid(jid.bare)).toEqual({ ...jid, full: jid.bare, resource: '' });
        expect(jid.bare).toBe(jid.node === '' ? jid.domain : `${jid.node}@${jid.domain}`);
        expect(jid.full).toBe(jid.resource === '' ? jid.bare : `${jid.bare}/${jid.resource}`);
        for (const part of [jid.node, jid.domain, jid.resource]) expect(Buffer.byteLength(part)).toBeLessThan(1024);
      }),
      { numRuns: 3000 },
    );
  });

  it('never lets a part take over another: no separator, space or control character where it could be taken for one', () => {
    fc.assert(
      fc.property(nearlyJid, (text) => {
        const jid = parsed(text);
        if (jid instanceof InvalidJid) return;
        expect(jid.node).not.toMatch(/[@/\s\p{Cc}]/u);
        expect(jid.domain).not.toMatch(/[@/\s\p{Cc}]|^$|^\.|\.\.|\.$/u);
        expect(jid.resource).not.toMatch(/\p{Cc}/u);
      }),
      { numRuns: 3000 },
    );
  });

  it('is the same with upper-case ASCII, soft hyphens and decomposed letters in its bare part', () => {
    fc.assert(
      fc.property(nearlyJid, (text) => {
        const jid = parsed(text);
        if (jid instanceof InvalidJid) return;
        const upper = jid.bare.replace(/[a-z]/g, (letter) => letter.toUpperCase());
        expect(parseJid(upper).bare).toBe(jid.bare);
        expect(parseJid(jid.bare.replace('@', '\u00ad@')).bare).toBe(jid.bare);
      }),
      { numRuns: 1000 },
    );
    expect(parseJid('u\u0308ber@example.org').bare).toBe(parseJid('\u00fcber@example.org').bare);
  });
});

describe('what is no JID', () => {
  it('is refused with a defined error, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), nearlyJid), (text) => {
        const jid = parsed(text);
        if (jid instanceof InvalidJid) expect(jid.message.length).toBeLessThan(400);
      }),
      { numRuns: 5000 },
    );
  });

  it.each(['\ud800', '\udc00', '\ud800a', 'a\udfff'])('includes half a surrogate pair in any part (%j)', (half) => {
    expect(() => parseJid(`${half}@example.org`)).toThrow(InvalidJid);
    expect(() => parseJid(`alice@${half}.org`)).toThrow(InvalidJid);
    expect(() => parseJid(`alice@example.org/${half}`)).toThrow(InvalidJid);
  });

  it('is named in at most 100 characters', () => {
    for (const text of [`${'ü'.repeat(5000)}@b`, `"${'"'.repeat(500)}@b`, `${'\u0000'.repeat(500)}@b`]) {
      const error = parsed(text);
      expect(error).toBeInstanceOf(InvalidJid);
      const echoed = (error as InvalidJid).message.replace(/ has .*/, '');
      expect(echoed.length).toBeLessThanOrEqual(100);
    }
  });

  it('is refused at once when it is 10 million characters long', () => {
    for (const piece of ['a', '@', '/', 'ß', '\u0323\u0301', '.', '\ud800']) {
      expect(() => parseJid(piece.repeat(10_000_000 / piece.length))).toThrow(InvalidJid);
    }
  });
});

describe('a bare JID', () => {
  it('has no resource', () => {
    expect(parseBareJid('Alice@Example.org').full).toBe('alice@example.org');
    expect(() => parseBareJid('alice@example.org/phone')).toThrow(/a bare JID \(user@domain\) is wanted/);
  });
});
