/**
 * What is in grafana/ and in deploy/prometheus, on a real Prometheus that scrapes real workers under load, with faults made
 * where figures exist in a fault only. No Grafana is run: what it would ask is asked here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dashboards, jsonOf } from '../../grafana/dashboards.ts';
import { queriesOf, variablesOf } from '../../grafana/queries.ts';
import { root } from './built.ts';
import { startNatsServer } from './nats-server.ts';
import { startPrometheus } from './prometheus.ts';
import type { Prometheus } from './prometheus.ts';
import { startWatchedCluster } from './watched-cluster.ts';
import type { WatchedCluster } from './watched-cluster.ts';
import { startWorkerProcess } from './worker.ts';

const folder = join(root, 'grafana/dashboards');
const rules = join(root, 'deploy/prometheus/warder.rules.yml');

const stops: (() => Promise<unknown>)[] = [];
let cluster: WatchedCluster;
let prometheus: Prometheus;
/** As Grafana would, for who has chosen everything and the first worker. */
let values: Readonly<Record<string, string>> = {};

beforeAll(async () => {
  cluster = await startWatchedCluster({ hasDeafHook: true, maxLagMs: 200 });
  stops.push(() => cluster.stop());
  const plainBroker = await startNatsServer();
  stops.push(() => plainBroker.stop());
  const unordered = await startWorkerProcess(plainBroker.url, '');
  stops.push(() => unordered.stop());
  const targets = [...cluster.targets, new URL(unordered.url).host];
  prometheus = await startPrometheus({ targets, ruleFiles: [rules] });
  stops.push(() => prometheus.stop());
  const [instance = ''] = targets;
  values = { job: '.*', operation: '.*', source: '.*', node: '.*', instance, __rate_interval: '4s' };

  await until('warder_hook_info');
  await until('warder_freshness_jetstream == 0');
  cluster.hooksFail({ timeout: 2, 'no-responders': 1 }, { allow: 2, deny: 1 });
  cluster.askTheGone(2);
  cluster.askTheSlow(8);
  await until('warder_requests_shed_total{reason="overloaded"} > 0');
  for (const lost of [1, 2]) {
    await cluster.losesNumbers();
    await until(`sum(warder_changes_gaps_total) >= ${cluster.targets.length * lost}`);
  }
  // Longer than its event loop may stand still.
  await cluster.workers[0]?.pause();
  await until(`up{instance="${instance}"} == 0`);
  cluster.workers[0]?.signal('SIGCONT');
  await until('ALERTS{alertname="WarderLeftGroup"}');
  // Beyond the staleness bound, without an end of any connection.
  await cluster.broker.pause();
  await until('ALERTS{alertname="WarderUnproved"}');
  cluster.broker.resume();
  await plainBroker.kill();
  await until('warder_nats_connected == 0');
  await unordered.stop();
});

afterAll(async () => {
  for (const stop of stops.toReversed()) await stop();
});

async function until(expr: string): Promise<void> {
  while (!(await hasData(expr))) await delay(100);
}

/** Whether Prometheus answers with at least one number. */
async function hasData(expr: string): Promise<boolean> {
  const result = await prometheus.query(expr);
  return result.some((series) => series.values.some(([, value]) => Number.isFinite(Number(value))));
}

/** What is asked again until it has an answer, since some figures need some scrapes. */
async function isAnswered(expr: string): Promise<void> {
  await expect.poll(() => hasData(expr), { timeout: 15_000, message: expr }).toBe(true);
}

describe('each dashboard', () => {
  it('lies there as the code writes it: else `npm run grafana`', () => {
    const files = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')] as const);
    const made = dashboards.map((dashboard) => [`${dashboard.uid ?? ''}.json`, jsonOf(dashboard)] as const);
    expect(Object.fromEntries(files)).toEqual(Object.fromEntries(made));
  });

  it.each(dashboards.map((dashboard) => [dashboard.title ?? '', dashboard] as const))(
    '%s has an answer to each question of its panels',
    async (_title, dashboard) => {
      const queries = queriesOf(dashboard, values);
      expect(queries.length).toBeGreaterThan(10);
      // What stands in for no answer would always be one.
      for (const { expr } of queries) await isAnswered(expr.replaceAll('or vector(0)', ''));
    },
  );

  it.each(dashboards.map((dashboard) => [dashboard.title ?? '', dashboard] as const))(
    '%s finds values for each of its variables',
    async (_title, dashboard) => {
      for (const { metric, label } of variablesOf(dashboard, values)) {
        const found = (await prometheus.query(metric)).map((series) => series.metric[label]);
        expect(found, metric).not.toContain(undefined);
        expect(found.length, metric).toBeGreaterThan(0);
      }
    },
  );
});

it('every figure that workers export is on a panel', async () => {
  const exported = await (await fetch(`${cluster.workers[0]?.url ?? ''}/metrics`)).text();
  const names = [...exported.matchAll(/^# TYPE (warder_\w+)/gm)].map(([, name = '']) => name);
  expect(names.length).toBeGreaterThan(30);
  const asked = dashboards.flatMap((dashboard) => queriesOf(dashboard, values).map(({ expr }) => expr)).join('\n');
  expect(names.filter((name) => !asked.includes(name))).toEqual([]);
});

describe('the rules', () => {
  it('are all evaluated without an error', async () => {
    await expect.poll(async () => (await prometheus.rules()).map(({ health }) => health)).not.toContain('unknown');
    const states = await prometheus.rules();
    expect(states.length).toBeGreaterThan(15);
    expect(states.filter(({ health }) => health !== 'ok')).toEqual([]);
  });

  it('name no metric that the workers do not export', async () => {
    const names = new Set(readFileSync(rules, 'utf8').match(/\b(?:warder|process)_\w+/g));
    expect(names.size).toBeGreaterThan(15);
    for (const name of names) await isAnswered(name);
  });

  it.each([
    'WarderDisconnected',
    'WarderFailClosed',
    'WarderFailOpen',
    'WarderGaps',
    'WarderHookDeaf',
    'WarderJetStreamOff',
    'WarderLeftGroup',
    'WarderOverloaded',
    'WarderRostersDue',
    'WarderSourceCrowded',
    'WarderSourceFailing',
    'WarderSourceOpen',
    'WarderUnproved',
    'WarderWorkerDown',
  ])('see by %s what went wrong here', async (alert) => {
    await isAnswered(`ALERTS{alertname="${alert}"}`);
  });
});
