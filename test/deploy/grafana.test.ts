/** The dashboards and their provisioning, as far as they can be looked at without a Grafana. */
import type { Dashboard, Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { dashboards } from '../../grafana/dashboards.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): unknown => parse(readFileSync(join(root, path), 'utf8'));
const rules = readFileSync(join(root, 'deploy/prometheus/warder.rules.yml'), 'utf8');
const alerts = new Set([...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name));

/** Those that ask something. */
function panelsOf({ panels = [] }: Dashboard): Panel[] {
  return panels.filter((panel): panel is Panel => 'fieldConfig' in panel && panel.type !== 'row');
}

const byTitle = dashboards.map((dashboard) => [dashboard.title ?? '', dashboard] as const);

describe.each(byTitle)('the dashboard %s', (_title, dashboard) => {
  const panels = panelsOf(dashboard);

  it.each(panels.map((panel) => [panel.title ?? '', panel] as const))(
    'has a unit and a description: %s',
    (_name, panel) => {
      expect(panel.fieldConfig.defaults.unit).toMatch(/^[a-z]+$/);
      expect(panel.description?.length).toBeGreaterThan(40);
      expect(panel.datasource).toEqual({ type: 'prometheus', uid: '${datasource}' });
      expect(panel.targets?.length).toBeGreaterThan(0);
    },
  );

  it('names alerts that there are', () => {
    const named = panels.flatMap(({ description = '' }) => description.match(/\bWarder[A-Z]\w+/g) ?? []);
    expect(named.filter((name) => !alerts.has(name))).toEqual([]);
  });

  it('says in its first row whether all is well: figures that change colour', () => {
    const first = panels.filter(({ gridPos }) => gridPos?.y === 1);
    expect(first.map(({ type }) => type)).toEqual(first.map(() => 'stat'));
    const coloured = first.filter(({ fieldConfig }) => (fieldConfig.defaults.thresholds?.steps.length ?? 0) > 1);
    expect(coloured.length).toBeGreaterThanOrEqual(3);
    expect(first.reduce((sum, { gridPos }) => sum + (gridPos?.w ?? 0), 0)).toBe(24);
  });

  it('has no panel on another, and none beyond the grid', () => {
    const taken = new Set<string>();
    for (const { title, gridPos = { x: 0, y: 0, w: 0, h: 0 } } of dashboard.panels ?? []) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
      }
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
    }
  });

  it('links to the others, and ends with what to do', () => {
    expect(dashboard.links).toMatchObject([{ type: 'dashboards', tags: dashboard.tags, keepTime: true }]);
    const last = dashboard.panels?.at(-1);
    expect(last).toMatchObject({ type: 'row', collapsed: true, panels: [{ type: 'text' }] });
    expect(JSON.stringify(last)).toContain('**Do.**');
  });
});

it('dashboards are told apart by their uid, which Grafana takes 40 letters of', () => {
  const uids = dashboards.map(({ uid = '' }) => uid);
  expect(new Set(uids).size).toBe(5);
  for (const uid of uids) expect(uid).toMatch(/^[a-z-]{8,40}$/);
});

describe('the provisioning', () => {
  it('takes the dashboards from where the composition mounts them, and Prometheus from where it says', () => {
    const providers = z
      .object({ apiVersion: z.literal(1), providers: z.array(z.object({ options: z.object({ path: z.string() }) })) })
      .parse(read('grafana/provisioning/dashboards/warder.yaml'));
    const sources = z
      .object({ apiVersion: z.literal(1), datasources: z.array(z.object({ type: z.string(), url: z.string() })) })
      .parse(read('grafana/provisioning/datasources/prometheus.yaml'));
    const { services } = z
      .object({
        services: z.object({
          grafana: z.object({ volumes: z.array(z.string()), environment: z.record(z.string(), z.string()) }),
        }),
      })
      .parse(read('deploy/compose/compose.yaml'));
    const mounts = services.grafana.volumes.map((volume) => volume.split(':').slice(0, 2));
    expect(mounts).toContainEqual(['../../grafana/dashboards', providers.providers[0]?.options.path]);
    expect(mounts).toContainEqual(['../../grafana/provisioning', '/etc/grafana/provisioning']);
    expect(sources.datasources).toEqual([expect.objectContaining({ type: 'prometheus', url: '$PROMETHEUS_URL' })]);
    expect(services.grafana.environment['PROMETHEUS_URL']).toMatch(/^http:/);
  });
});
