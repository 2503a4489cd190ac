/** What Grafana would ask Prometheus for a dashboard, with its variables replaced: for tests and for the picture. */
import type { Dashboard, Panel } from '@grafana/grafana-foundation-sdk/dashboard';

export interface AskedQuery {
  readonly panel: Panel;
  readonly expr: string;
  readonly legend: string;
}

/** A value for each variable by name, and for Grafana's own `__rate_interval`. */
export type VariableValues = Readonly<Record<string, string>>;

/** Every query of every panel. @throws Error for a variable without a value */
export function queriesOf(dashboard: Dashboard, values: VariableValues): AskedQuery[] {
  return panelsOf(dashboard).flatMap((panel) =>
    (panel.targets ?? []).map((target) => {
      const { expr = '', legendFormat = '' } = target as { expr?: string; legendFormat?: string };
      return { panel, expr: replaced(expr, values), legend: legendFormat };
    }),
  );
}

/** Where the values of the variables are taken from. */
export function variablesOf(dashboard: Dashboard, values: VariableValues): { metric: string; label: string }[] {
  return (dashboard.templating.list ?? []).flatMap(({ query }) => {
    const text = typeof query === 'object' ? String(query['query']) : '';
    const [, metric, label] = /^label_values\((.+),(\w+)\)$/.exec(text) ?? [];
    return metric === undefined || label === undefined ? [] : [{ metric: replaced(metric, values), label }];
  });
}

function panelsOf({ panels = [] }: Dashboard): Panel[] {
  return panels.flatMap((panel) => ('panels' in panel ? panel.panels : [panel]));
}

function replaced(text: string, values: VariableValues): string {
  // `$1` belongs to label_replace.
  return text.replaceAll(/\$([a-z_]\w*)/g, (_all, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`$${name} has no value in ${text}`);
    return value;
  });
}
