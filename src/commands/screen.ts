/** A terminal that is drawn on again and again, with keys, and left as it was found. Knows nothing of what is drawn. */
import type { ReadStream, WriteStream } from 'node:tty';

export interface Screen {
  /**
   * Replaces what is shown; what is higher than the terminal is cut off, and that is said.
   * @param foot a last line, which does not stay
   */
  draw(lines: readonly string[], foot: string): void;
  /** Leaves the last drawing where a command's output belongs. */
  close(): void;
}

/** Control sequences of ECMA-48 and xterm: another buffer, so that what was on the terminal comes back; no cursor. */
const enter = '\u001b[?1049h\u001b[?25l';
const leave = '\u001b[?25h\u001b[?1049l';
const home = '\u001b[H';
const eraseLine = '\u001b[K';
const eraseBelow = '\u001b[J';

/** @param onKey called with each key; Ctrl-C comes as a key too */
export function openScreen(output: WriteStream, input: ReadStream, onKey: (key: string) => void): Screen {
  let last: readonly string[] = [];
  let lastFoot = '';
  const draw = (lines: readonly string[], foot: string) => {
    last = lines;
    lastFoot = foot;
    const shown = [...fitting(lines, output.rows - 1), foot];
    output.write(`${home}${shown.join(`${eraseLine}\n`)}${eraseLine}${eraseBelow}`);
  };
  const redraw = () => draw(last, lastFoot);
  const hear = (data: Buffer) => {
    for (const key of data.toString()) onKey(key);
  };
  output.write(enter);
  output.on('resize', redraw);
  if (input.isTTY) {
    input.setRawMode(true);
    input.on('data', hear);
  }
  return {
    draw,
    close: () => {
      output.off('resize', redraw);
      output.write(leave);
      if (last.length > 0) output.write(`${last.join('\n')}\n`);
      if (!input.isTTY) return;
      input.off('data', hear);
      input.setRawMode(false);
      input.pause();
    },
  };
}

function fitting(lines: readonly string[], rows: number): readonly string[] {
  if (lines.length <= rows) return lines;
  const shown = Math.max(0, rows - 1);
  return [...lines.slice(0, shown), `… ${lines.length - shown} more lines; a higher window shows them`];
}
