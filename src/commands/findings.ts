/** What `warder doctor` has found, a line each, with what would be right. Knows nothing of how things are found. */
import { printable, wrap } from './terminal.ts';
import type { Colour, Paint } from './terminal.ts';

export type Level = 'ok' | 'note' | 'warn' | 'fail';

export interface Finding {
  readonly level: Level;
  /** What was looked at, in a word. */
  readonly about: string;
  readonly found: string;
  /** What to do, or what would be better. */
  readonly right?: string;
}

export class Findings {
  readonly all: Finding[] = [];

  ok(about: string, found: string): void {
    this.all.push({ level: 'ok', about, found });
  }

  /** Nothing is wrong, and something could be better or could not be seen. */
  note(about: string, found: string, right?: string): void {
    this.all.push({ level: 'note', about, found, ...(right !== undefined && { right }) });
  }

  warn(about: string, found: string, right: string): void {
    this.all.push({ level: 'warn', about, found, right });
  }

  fail(about: string, found: string, right: string): void {
    this.all.push({ level: 'fail', about, found, right });
  }

  count(level: Level): number {
    return this.all.filter((finding) => finding.level === level).length;
  }

  text(paint: Paint): string {
    return this.all.map((finding) => lineOf(finding, paint)).join('') + this.#summary(paint);
  }

  #summary(paint: Paint): string {
    const [fails, warnings] = [this.count('fail'), this.count('warn')];
    if (fails + warnings === 0) return paint('green', 'nothing is wrong') + '\n';
    const counted = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;
    return `${paint(fails > 0 ? 'red' : 'yellow', `${counted(fails, 'failure')}, ${counted(warnings, 'warning')}`)}\n`;
  }
}

const colours: Readonly<Record<Level, Colour>> = { ok: 'green', note: 'dim', warn: 'yellow', fail: 'red' };
const levelWidth = 6;
const aboutWidth = 15;

function lineOf({ level, about, found, right }: Finding, paint: Paint): string {
  const indent = levelWidth + aboutWidth;
  const word = paint(colours[level], level.toUpperCase()) + ' '.repeat(levelWidth - level.length);
  const advice = right === undefined ? '' : `${' '.repeat(indent)}→ ${wrap(printable(right), indent + 2)}\n`;
  return `${word}${about.padEnd(aboutWidth)}${wrap(printable(found), indent)}\n${advice}`;
}
