/** A dashboard as a picture: its panels where its grid has them, with what their queries were answered. */
import type { Dashboard, Panel, Threshold } from '@grafana/grafana-foundation-sdk/dashboard';
import { drawGraph } from './graph.ts';
import type { Line } from './graph.ts';
import { box, colors, element, fitting, text } from './svg.ts';
import type { Box } from './svg.ts';
import { inUnit } from './units.ts';

const column = 50;
const row = 31;
const margin = 12;
const titleHeight = 44;
const footHeight = 44;

export interface Drawn {
  /** Rows of the grid from here on are left out. */
  readonly endRow: number;
  readonly seconds: number;
  /** Below the picture: what it is and what it is not. */
  readonly caption: readonly string[];
}

/** @param linesOf what the queries of a panel were answered, over the whole time */
export function drawDashboard(dashboard: Dashboard, linesOf: (panel: Panel) => readonly Line[], drawn: Drawn): string {
  const panels = (dashboard.panels ?? []).filter((panel) => (panel.gridPos?.y ?? 0) < drawn.endRow);
  const width = 24 * column + 2 * margin;
  const height = titleHeight + drawn.endRow * row + footHeight;
  const parts = panels.map((panel) => {
    const { x = 0, y = 0, w = 24, h = 1 } = panel.gridPos ?? {};
    const place: Box = { x: margin + x * column, y: titleHeight + y * row, width: w * column, height: h * row };
    if (panel.type === 'row') return text(place.x + 6, place.y + 21, panel.title ?? '', { 'font-size': 15 });
    if (!('fieldConfig' in panel)) return '';
    const inside: Box = { x: place.x + 4, y: place.y + 4, width: place.width - 8, height: place.height - 8 };
    return panel.type === 'stat'
      ? drawStat(inside, panel, linesOf(panel))
      : drawLines(inside, panel, linesOf(panel), drawn);
  });
  const foot = drawn.caption.map((line, index) =>
    text(margin + 6, height - footHeight + 18 + index * 16, line, { 'font-size': 11, fill: colors.faint }),
  );
  const head = text(margin + 6, 29, dashboard.title ?? '', { 'font-size': 18, 'font-weight': 600 });
  const content = [box({ x: 0, y: 0, width, height }, colors.page), head, ...parts, ...foot].join('\n');
  return `${element('svg', { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${width} ${height}`, width, height, 'font-family': 'Inter, Helvetica, Arial, sans-serif' }, `\n${content}\n`)}\n`;
}

function drawStat(inside: Box, panel: Panel, lines: readonly Line[]): string {
  const { unit = '', thresholds, noValue = 'no data' } = panel.fieldConfig.defaults;
  const value = lines[0]?.values.findLast((one) => Number.isFinite(one));
  const color = value === undefined ? colors.faint : colorAt(thresholds?.steps ?? [], value);
  const middle = { 'text-anchor': 'middle', fill: '#ffffff' };
  const x = inside.x + inside.width / 2;
  const written = value === undefined ? noValue : inUnit(value, unit);
  return [
    box(inside, color, { rx: 3 }),
    text(inside.x + 10, inside.y + 20, fitting(panel.title ?? '', inside.width - 14, 12), { fill: '#ffffff' }),
    text(x, inside.y + inside.height / 2 + 22, written, {
      ...middle,
      'font-size': Math.min(27, Math.round((inside.width - 20) / (written.length * 0.62))),
      'font-weight': 600,
    }),
  ].join('\n');
}

function drawLines(inside: Box, panel: Panel, lines: readonly Line[], { seconds }: Drawn): string {
  const { unit = '', max, thresholds, custom } = panel.fieldConfig.defaults;
  const { stacking } = (custom ?? {}) as { stacking?: { mode?: string } };
  const limits = (thresholds?.steps ?? []).flatMap(({ value, color }) =>
    value === null || color === 'green' ? [] : [{ value, color: named(color) }],
  );
  const plot: Box = { ...inside, y: inside.y + 28, height: inside.height - 32 };
  const options = {
    unit,
    isStacked: stacking?.mode === 'normal',
    limits,
    seconds,
    ...(max === undefined ? {} : { max }),
  };
  return [
    box(inside, colors.panel, { rx: 3, stroke: colors.border }),
    text(inside.x + 10, inside.y + 20, panel.title ?? '', { 'font-size': 13, 'font-weight': 600 }),
    drawGraph(plot, lines, options),
  ].join('\n');
}

function colorAt(steps: readonly Threshold[], value: number): string {
  return named(steps.findLast((step) => step.value === null || value >= step.value)?.color ?? 'blue');
}

function named(color: string): string {
  return color in colors ? colors[color as keyof typeof colors] : color;
}
