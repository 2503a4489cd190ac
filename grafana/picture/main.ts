/**
 * Makes the picture of the README: runs a cluster in which things go wrong, has a real Prometheus scrape it, asks it what the
 * overview would ask, and draws the answers. Run in the project's folder: `npm run docs:picture`.
 */
import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cwd } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { startProcess } from '../../test/servers/process.ts';
import { startPrometheus } from '../../test/servers/prometheus.ts';
import type { SeriesOverTime } from '../../test/servers/prometheus.ts';
import { startWatchedCluster } from '../../test/servers/watched-cluster.ts';
import type { WorkerProcess } from '../../test/servers/worker.ts';
import { overview } from '../overview.ts';
import { queriesOf } from '../queries.ts';
import { drawDashboard } from './draw.ts';
import type { Line } from './graph.ts';

const stepSeconds = 0.5;
/** Well, then a slow source, well again, and at the end a source that is gone. */
const story = { wellMs: 20_000, slowMs: 15_000, wellAgainMs: 15_000, goneMs: 12_000 } as const;
const seconds = Object.values(story).reduce((sum, ms) => sum + ms, 0) / 1_000;
const values = { job: '.*', operation: '.*', __rate_interval: '4s' };
const caption = [
  `Drawn by \`npm run docs:picture\`, not by Grafana: the panels of grafana/dashboards/warder-overview.json with the answers of a real Prometheus to their queries,`,
  `over ${seconds} s of two workers under load. From 20 s to 35 s too many joins wait for a slow source; from 50 s on one source is gone, and hooks report that they let pass what nobody decided.`,
];

async function startWorker(natsUrl: string, config: string): Promise<WorkerProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-picture-'));
  const file = join(folder, 'warder.yaml');
  writeFileSync(file, config);
  const child = await startProcess({
    command: process.execPath,
    args: [join(cwd(), 'dist/main.js'), 'worker', '--config', file],
    env: { WARDER_NATS_URL: natsUrl, WARDER_HTTP_LISTEN: '127.0.0.1:0' },
    ready: /"worker ready"/,
  });
  rmSync(folder, { recursive: true, force: true });
  return { ...child, url: /"http":"([^"]+)"/.exec(child.output())?.[1] ?? '' };
}

/** At even distances in time; what Prometheus has no value for is NaN. */
function lineOf({ metric, values: pairs }: SeriesOverTime, legend: string, startSeconds: number): Line {
  const known = new Map(pairs.map(([at, value]) => [Math.round((at - startSeconds) / stepSeconds), Number(value)]));
  const count = Math.floor(seconds / stepSeconds);
  return {
    name: legend.replaceAll(/\{\{(\w+)\}\}/g, (_all, label: string) => metric[label] ?? ''),
    values: Array.from({ length: count }, (_none, index) => known.get(index) ?? Number.NaN),
  };
}

const cluster = await startWatchedCluster({ startWorker });
const prometheus = await startPrometheus({ targets: cluster.targets });
try {
  // Rates need some scrapes before there is anything to see.
  while ((await prometheus.query('up')).length === 0) await delay(100);
  await delay(5_000);
  const startSeconds = Date.now() / 1_000;
  await delay(story.wellMs);
  cluster.askTheSlow(8);
  await delay(story.slowMs);
  cluster.askTheSlow(1);
  await delay(story.wellAgainMs);
  cluster.askTheGone(1);
  cluster.hooksFail({ 'source-unavailable': 4 }, { allow: 3, deny: 1 });
  await delay(story.goneMs);
  const lines = new Map<Panel, Line[]>();
  for (const { panel, expr, legend } of queriesOf(overview, values)) {
    const series = await prometheus.query(expr, { stepSeconds, startSeconds });
    lines.set(panel, [...(lines.get(panel) ?? []), ...series.map((one) => lineOf(one, legend, startSeconds))]);
  }
  const folder = join(cwd(), 'docs/images');
  mkdirSync(folder, { recursive: true });
  const picture = drawDashboard(overview, (panel) => lines.get(panel) ?? [], { endRow: 30, seconds, caption });
  writeFileSync(join(folder, 'overview.svg'), picture);
} finally {
  await prometheus.stop();
  await cluster.stop();
}
