/**
 * How a panel of ours looks, whichever it is: one function a kind, over the SDK's builders. It knows no metric.
 */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  BigValueColorMode,
  BigValueGraphMode,
  GraphGradientMode,
  GraphThresholdsStyleConfigBuilder,
  GraphTresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
  SortOrder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard';
import type { Panel, ValueMapping } from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StateTimelineBuilder } from '@grafana/grafana-foundation-sdk/statetimeline';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TextBuilder, TextMode } from '@grafana/grafana-foundation-sdk/text';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** What every panel refers to: the variable of the same name. */
export const datasource = { type: 'prometheus', uid: '${datasource}' };

export interface Query {
  readonly expr: string;
  /** Of the series: text with `{{label}}`. */
  readonly legend: string;
}

/** The colour from this value up; the first holds from the lowest on. */
export type Thresholds = readonly [from: null | number, color: 'green' | 'orange' | 'red' | 'blue'][];

/** A word and a colour for a value. */
export type Words = Readonly<Record<string, { readonly text: string; readonly color: string }>>;

interface Shown {
  readonly title: string;
  /** What it means for the person on call, and what to do. */
  readonly description: string;
  /** As Grafana names units: `s`, `reqps`, `percentunit`. */
  readonly unit: string;
  /** Of the 24 columns of a dashboard. */
  readonly width: number;
  readonly thresholds?: Thresholds;
  readonly words?: Words;
  readonly max?: number;
}

/** One figure of now, coloured by its thresholds. */
export function stat(shown: Shown & { query: string; decimals?: number }): Builder<Panel> {
  const builder = new StatBuilder()
    .title(shown.title)
    .description(shown.description)
    .datasource(datasource)
    .unit(shown.unit)
    .span(shown.width)
    .height(4)
    .colorMode(BigValueColorMode.Background)
    .graphMode(BigValueGraphMode.None)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .thresholds(thresholdsOf(shown.thresholds ?? [[null, 'blue']]))
    .mappings(mappingsOf(shown.words))
    .withTarget(target({ expr: shown.query, legend: '' }, 0).instant());
  return shown.decimals === undefined ? builder : builder.decimals(shown.decimals);
}

/** Lines over time; with thresholds the area beyond them is coloured. */
export function graph(
  shown: Shown & { queries: readonly Query[]; isStacked?: boolean; height?: number },
): Builder<Panel> {
  const builder = new TimeseriesBuilder()
    .title(shown.title)
    .description(shown.description)
    .datasource(datasource)
    .unit(shown.unit)
    .span(shown.width)
    .height(shown.height ?? 8)
    .min(0)
    .lineWidth(1)
    .fillOpacity(shown.isStacked === true ? 30 : 8)
    .gradientMode(GraphGradientMode.None)
    .showPoints(VisibilityMode.Never)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs(['lastNotNull', 'max']),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .mappings(mappingsOf(shown.words));
  if (shown.isStacked === true) builder.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'));
  if (shown.max !== undefined) builder.max(shown.max);
  if (shown.thresholds !== undefined) {
    builder
      .thresholds(thresholdsOf(shown.thresholds))
      .thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphTresholdsStyleMode.Line));
  }
  shown.queries.forEach((query, index) => builder.withTarget(target(query, index).range()));
  return builder;
}

/** A state over time, one row a series. */
export function timeline(shown: Shown & { query: Query; words: Words }): Builder<Panel> {
  return new StateTimelineBuilder()
    .title(shown.title)
    .description(shown.description)
    .datasource(datasource)
    .unit(shown.unit)
    .span(shown.width)
    .height(8)
    .mergeValues(true)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .thresholds(thresholdsOf(shown.thresholds ?? [[null, 'green']]))
    .mappings(mappingsOf(shown.words))
    .withTarget(target(shown.query, 0).range());
}

/** The labels of now, one row a series. `hidden` are columns that say nothing here. */
export function table(shown: Shown & { query: string; hidden: readonly string[] }): Builder<Panel> {
  return new TableBuilder()
    .title(shown.title)
    .description(shown.description)
    .datasource(datasource)
    .unit(shown.unit)
    .span(shown.width)
    .height(8)
    .thresholds(thresholdsOf(shown.thresholds ?? [[null, 'green']]))
    .withTransformation({
      id: 'organize',
      options: { excludeByName: Object.fromEntries(shown.hidden.map((name) => [name, true])) },
    })
    .withTarget(target({ expr: shown.query, legend: '' }, 0).instant().format(PromQueryFormat.Table));
}

/** Markdown, over the whole width. */
export function text(title: string, content: string): Builder<Panel> {
  return new TextBuilder()
    .title(title)
    .description('From docs/operations.md.')
    .mode(TextMode.Markdown)
    .content(content)
    .span(24)
    .height(14);
}

function target({ expr, legend }: Query, index: number): DataqueryBuilder {
  return new DataqueryBuilder()
    .datasource(datasource)
    .refId(String.fromCodePoint('A'.charCodeAt(0) + index))
    .expr(expr)
    .legendFormat(legend);
}

function thresholdsOf(thresholds: Thresholds): ThresholdsConfigBuilder {
  const steps = thresholds.map(([value, color]) => ({ value, color }));
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps);
}

function mappingsOf(words: Words = {}): ValueMapping[] {
  return Object.keys(words).length === 0 ? [] : [{ type: MappingType.ValueToText, options: { ...words } }];
}
