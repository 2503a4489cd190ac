/** All dashboards, and their form as files. */
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { freshness } from './freshness.ts';
import { hooks } from './hooks.ts';
import { overview } from './overview.ts';
import { sources } from './sources.ts';
import { worker } from './worker.ts';

export const dashboards: readonly Dashboard[] = [overview, freshness, sources, hooks, worker];

export function jsonOf(dashboard: Dashboard): string {
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}
