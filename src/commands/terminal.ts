/** What may go to a terminal: text that cannot steer it, lines that fit it, colours where they are wanted. */

/** The width that everything is written for. */
export const width = 80;

/** Names and reasons come from elsewhere: control characters are shown and do nothing. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    if (code === 0x0a) return '\\n';
    if (code === 0x09) return '\\t';
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Breaks between words so that lines fit; the first begins after `indent` columns that are there already. */
export function wrap(text: string, indent: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
}

/** `name  text` pairs in two columns. */
export function columns(rows: readonly (readonly [string, string])[], indent = 2): string {
  const nameWidth = Math.max(0, ...rows.map(([name]) => name.length));
  return rows
    .map(([name, text]) => `${' '.repeat(indent)}${name.padEnd(nameWidth)}  ${wrap(text, indent + nameWidth + 2)}\n`)
    .join('');
}

export type Colour = 'green' | 'red' | 'yellow' | 'dim' | 'bold';

export type Paint = (colour: Colour, text: string) => string;

const codes: Record<Colour, number> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

/** Colours for a terminal that wants them (https://no-color.org). */
export function createPaint(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): Paint {
  const isWanted = stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return (colour, text) => (isWanted ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text);
}
