/** SVG as text: elements, colours and what a text may hold. It knows nothing of what is drawn. */

export const colors = {
  page: '#111217',
  panel: '#181b1f',
  border: '#2c3036',
  text: '#d8d9da',
  faint: '#8e9099',
  green: '#56a64b',
  orange: '#e0752d',
  red: '#d44a3a',
  blue: '#3274d9',
} as const;

/** One after the other for the series of a graph. */
export const seriesColors = [
  '#7eb26d',
  '#eab839',
  '#6ed0e0',
  '#ef843c',
  '#e24d42',
  '#5794f2',
  '#ba43a9',
  '#b877d9',
  '#96d98d',
  '#ffcb7d',
] as const;

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

type Attributes = Readonly<Record<string, string | number>>;

export function element(name: string, attributes: Attributes, content = ''): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(String(value))}"`);
  return `<${name}${written.join('')}${content === '' ? '/>' : `>${content}</${name}>`}`;
}

export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element(
    'text',
    { x: round(x), y: round(y), fill: colors.text, 'font-size': 12, ...attributes },
    escaped(content),
  );
}

export function box({ x, y, width, height }: Box, fill: string, attributes: Attributes = {}): string {
  return element('rect', { x: round(x), y: round(y), width: round(width), height: round(height), fill, ...attributes });
}

/** Through points; what is no number is a gap. */
export function path(points: readonly (readonly [x: number, y: number])[]): string {
  let isDown = false;
  return points
    .map(([x, y]) => {
      if (!Number.isFinite(y)) {
        isDown = false;
        return '';
      }
      const command = `${isDown ? 'L' : 'M'}${round(x)} ${round(y)}`;
      isDown = true;
      return command;
    })
    .join('');
}

/** As much of a text as fits, at some 0.56 of the font's size a letter. */
export function fitting(content: string, width: number, fontSize: number): string {
  const letters = Math.max(1, Math.floor(width / (fontSize * 0.56)));
  return content.length <= letters ? content : `${content.slice(0, letters - 1)}…`;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
