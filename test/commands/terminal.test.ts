import { describe, expect, it } from 'vitest';
import { columns, createPaint, printable, wrap } from '../../src/commands/terminal.ts';

describe('printable', () => {
  it.each([
    { name: 'plain text as it is', text: 'Žofie → 日本', want: 'Žofie → 日本' },
    { name: 'escape sequences', text: '\u001b[31mred', want: '\\u001b[31mred' },
    { name: 'line breaks and tabs', text: 'a\nb\tc\r', want: 'a\\nb\\tc\\u000d' },
    { name: 'what turns the direction of text', text: 'a\u202eb', want: 'a\\u202eb' },
    { name: 'C1 controls', text: '\u009b2J', want: '\\u009b2J' },
  ])('shows $name', ({ text, want }) => {
    expect(printable(text)).toBe(want);
  });
});

describe('wrap', () => {
  it('breaks between words and never within one', () => {
    const text = `${'word '.repeat(30)}${'x'.repeat(100)}`;
    const lines = wrap(text, 10).split('\n');
    expect(lines.join(' ').replaceAll(/ +/g, ' ')).toBe(text);
    expect(lines.slice(0, -1).every((line, index) => line.length <= (index === 0 ? 70 : 80))).toBe(true);
    expect(lines.slice(1).every((line) => /^ {10}\S/.test(line))).toBe(true);
  });
});

describe('columns', () => {
  it('aligns what stands beside the names', () => {
    expect(
      columns([
        ['a', 'x'],
        ['long', 'y'],
      ]),
    ).toBe('  a     x\n  long  y\n');
    expect(columns([])).toBe('');
  });
});

describe('createPaint', () => {
  it.each([
    { name: 'a terminal', tty: true, env: {}, want: '\u001b[31mx\u001b[0m' },
    { name: 'a pipe', tty: false, env: {}, want: 'x' },
    { name: 'a terminal with NO_COLOR', tty: true, env: { NO_COLOR: '1' }, want: 'x' },
    { name: 'a terminal with an empty NO_COLOR', tty: true, env: { NO_COLOR: '' }, want: '\u001b[31mx\u001b[0m' },
    { name: 'a terminal that is dumb', tty: true, env: { TERM: 'dumb' }, want: 'x' },
  ])('paints for $name: $want', ({ tty, env, want }) => {
    expect(createPaint({ isTTY: tty }, env)('red', 'x')).toBe(want);
  });
});
