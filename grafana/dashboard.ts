/**
 * What all our dashboards have in common: their variables, the links between them, and rows of panels that are
 * numbered. It knows no metric beyond those that the variables are filled from.
 */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import type { Dashboard, Panel, VariableModel } from '@grafana/grafana-foundation-sdk/dashboard';
import { datasource, text } from './panels.ts';
import { runbook } from './runbook.ts';

const tag = 'warder';

/** Where the values of a variable come from: a label of a metric that is always there. */
const variables = {
  operation: { metric: 'warder_request_duration_seconds_count{job=~"$job"}', isMany: true },
  source: { metric: 'warder_source_breaker_state{job=~"$job"}', isMany: true },
  node: { metric: 'warder_hook_info{job=~"$job"}', isMany: true },
  instance: { metric: 'warder_build_info{job=~"$job"}', isMany: false },
} as const;

export type VariableName = keyof typeof variables;

export interface DashboardParts {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Beside the data source and the job, which all have. */
  readonly variables: readonly VariableName[];
  readonly rows: readonly { readonly title: string; readonly panels: readonly Builder<Panel>[] }[];
  /** The alerts whose sections of docs/operations.md stand in the last, folded row. */
  readonly alerts: readonly string[];
}

export function createDashboard(parts: DashboardParts): Dashboard {
  const builder = new DashboardBuilder(parts.title)
    .uid(parts.uid)
    .description(parts.description)
    .tags([tag])
    .editable()
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .link(
      new DashboardLinkBuilder('Warder')
        .type(DashboardLinkType.Dashboards)
        .tags([tag])
        .asDropdown(false)
        .includeVars(false)
        .keepTime(true),
    )
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(labelVariable('job', 'warder_build_info', true));
  for (const name of parts.variables) {
    const { metric, isMany } = variables[name];
    builder.withVariable(labelVariable(name, metric, isMany));
  }
  for (const { title, panels } of parts.rows) {
    builder.withRow(new RowBuilder(title));
    for (const panel of panels) builder.withPanel(panel);
  }
  const todo = text('Alerts', parts.alerts.map(runbook).join('\n\n'));
  builder.withRow(new RowBuilder('What to do').collapsed(true).withPanel(todo));
  return numbered(builder.build());
}

function labelVariable(name: string, metric: string, isMany: boolean): Builder<VariableModel> {
  const variable = new QueryVariableBuilder(name)
    .label(name)
    .datasource(datasource)
    .query({ query: `label_values(${metric},${name})`, refId: `variable-${name}` })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc);
  if (!isMany) return variable;
  const all = { selected: true, text: ['All'], value: ['$__all'] };
  return variable.multi(true).includeAll(true).allValue('.*').current(all);
}

/** Panels are told apart by number, also in the address of one of them: it must not depend on the Grafana that loads it. */
function numbered(dashboard: Dashboard): Dashboard {
  let id = 0;
  for (const panel of dashboard.panels ?? []) {
    panel.id = id += 1;
    if ('panels' in panel) for (const inner of panel.panels) inner.id = id += 1;
  }
  return dashboard;
}
