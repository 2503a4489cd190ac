/** One panel of lines over time: axes, lines or stacked areas, thresholds, and a legend with the last and largest values. */
import { box, colors, element, fitting, path, seriesColors, text } from './svg.ts';
import type { Box } from './svg.ts';
import { axisOf, inUnit } from './units.ts';

export interface Line {
  readonly name: string;
  /** One a moment; NaN where there is none. */
  readonly values: readonly number[];
}

export interface GraphOptions {
  readonly unit: string;
  readonly isStacked: boolean;
  readonly max?: number;
  /** Values at which something begins to be bad. */
  readonly limits: readonly { readonly value: number; readonly color: string }[];
  readonly seconds: number;
}

/** More lines than these are left out of the legend, and said so. */
const maxLegend = 5;
const legendLine = 15;

export function drawGraph(inside: Box, lines: readonly Line[], options: GraphOptions): string {
  const shown = [...lines].toSorted((one, other) => largest(other.values) - largest(one.values));
  const legendHeight = Math.min(shown.length, maxLegend + 1) * legendLine + 6;
  const plot: Box = {
    x: inside.x + 68,
    y: inside.y + 4,
    width: inside.width - 76,
    height: inside.height - legendHeight - 26,
  };
  const stacked = options.isStacked
    ? stack(shown)
    : shown.map(({ values }) => ({ from: values.map(() => 0), to: values }));
  const { top, step } = axisOf(options.max ?? Math.max(...stacked.map(({ to }) => largest(to)), 0));
  const yOf = (value: number): number => plot.y + plot.height * (1 - value / top);
  const xOf = (index: number, count: number): number => plot.x + (plot.width * index) / Math.max(1, count - 1);

  const parts: string[] = [];
  for (let value = 0; value <= top * 1.001; value += step) {
    const y = yOf(value);
    parts.push(element('path', { d: `M${plot.x} ${y.toFixed(1)}H${plot.x + plot.width}`, stroke: colors.border }));
    parts.push(
      text(plot.x - 6, y + 4, inUnit(value, options.unit), {
        'text-anchor': 'end',
        'font-size': 11,
        fill: colors.faint,
      }),
    );
  }
  for (let second = 0; second <= options.seconds; second += 10) {
    const x = plot.x + (plot.width * second) / options.seconds;
    const words = { 'text-anchor': 'middle', 'font-size': 11, fill: colors.faint };
    parts.push(text(x, plot.y + plot.height + 16, `${second} s`, words));
  }
  // The first are the largest; the small ones lie above them.
  stacked.forEach(({ from, to }, index) => {
    const color = colorOf(index);
    const upper = to.map((value, at) => [xOf(at, to.length), yOf(value)] as const);
    if (options.isStacked) {
      const lower = from.map((value, at) => [xOf(at, from.length), yOf(value)] as const).toReversed();
      const area = `${path(upper)}${path(lower).replace('M', 'L')}Z`;
      parts.push(element('path', { d: area, fill: color, 'fill-opacity': 0.3, stroke: 'none' }));
    }
    parts.push(element('path', { d: path(upper), fill: 'none', stroke: color, 'stroke-width': 1.5 }));
  });
  for (const { value, color } of options.limits.filter((one) => one.value <= top)) {
    const d = `M${plot.x} ${yOf(value).toFixed(1)}H${plot.x + plot.width}`;
    parts.push(element('path', { d, stroke: color, 'stroke-dasharray': '6 4', 'stroke-width': 1.5 }));
  }
  parts.push(
    drawLegend({ ...inside, y: inside.y + inside.height - legendHeight, height: legendHeight }, shown, options.unit),
  );
  return parts.join('\n');
}

function drawLegend(inside: Box, lines: readonly Line[], unit: string): string {
  const right = inside.x + inside.width;
  const parts = lines.slice(0, maxLegend).map(({ name, values }, index) => {
    const y = inside.y + (index + 1) * legendLine;
    const figures = `now ${inUnit(last(values), unit)}, at most ${inUnit(largest(values), unit)}`;
    return [
      box({ x: inside.x + 10, y: y - 7, width: 12, height: 4 }, colorOf(index)),
      text(inside.x + 28, y, fitting(name, inside.width - 230, 11), { 'font-size': 11 }),
      text(right - 8, y, figures, { 'text-anchor': 'end', 'font-size': 11, fill: colors.faint }),
    ].join('');
  });
  const more = lines.length - maxLegend;
  const y = inside.y + (maxLegend + 1) * legendLine;
  if (more > 0) parts.push(text(inside.x + 28, y, `and ${more} more`, { 'font-size': 11, fill: colors.faint }));
  return parts.join('\n');
}

function stack(lines: readonly Line[]): { from: number[]; to: number[] }[] {
  let below: number[] = [];
  return lines.map(({ values }) => {
    const from = values.map((_value, index) => below[index] ?? 0);
    const to = values.map((value, index) => (from[index] ?? 0) + (Number.isFinite(value) ? value : 0));
    below = to;
    return { from, to };
  });
}

function colorOf(index: number): string {
  return seriesColors[index % seriesColors.length] ?? colors.blue;
}

function largest(values: readonly number[]): number {
  return values.reduce((most, value) => (value > most ? value : most), 0);
}

function last(values: readonly number[]): number {
  const value = values.at(-1) ?? 0;
  return Number.isFinite(value) ? value : 0;
}
