/** What `warder top` makes of the reports of workers, and how it looks. */
import { describe, expect, it } from 'vitest';
import type { Sample } from '../../src/commands/cluster-sample.ts';
import { ClusterView } from '../../src/commands/cluster-view.ts';
import { quantileMs } from '../../src/commands/quantile.ts';
import type { Paint } from '../../src/commands/terminal.ts';
import { tablesOf } from '../../src/commands/top-table.ts';
import type { StatsReport, WorkerData } from '../../src/wire/service-stats.ts';

const plain: Paint = (_colour, text) => text;
const base = 1_795_000_000_000;

function worker(id: string, requests: number, more: Partial<WorkerData> = {}): StatsReport {
  const data = {
    verdicts: { allow: requests / 2, deny: requests / 4 },
    degraded: { allow: requests / 4 },
    failures: { internal: 0 },
    remembered: requests / 2,
    latency_buckets: { '0.001': requests * 0.9, '0.01': requests, '+Inf': requests },
  };
  return {
    id,
    version: '0.1.0',
    started: '2026-01-01T00:00:00.000Z',
    endpoints: [{ name: 'join-check', num_requests: requests, processing_time: 0, data }],
    data: {
      prefix: 'p',
      name: `host/${id}`,
      seen: base,
      in_flight: 3,
      max_in_flight: 4_096,
      freshness: { jetstream: true, age_ms: 300, bound_ms: 2_000 },
      sources: [{ source: 'app', type: 'http', breaker: 'closed', in_flight: 1, max_in_flight: 32, queued: 2 }],
      hooks: {},
      ...more,
    },
  };
}

function sample(atMs: number, workers: StatsReport[], hooks: object[] | undefined = []): Sample {
  const members = hooks.map((hook) => ({
    v: 1 as const,
    kind: 'hook' as const,
    boot_id: 'b',
    name: 'xmpp1',
    seen: base,
    heard_ms: 500,
    ...hook,
  }));
  return { atMs, workers, members: { v: 1, bound_ms: 2_000, members } };
}

describe('the figures of a cluster', () => {
  it('are of the time between two reports, by operation, by worker and of all', () => {
    const cluster = new ClusterView();
    expect(cluster.add(sample(0, [worker('a', 1_000), worker('b', 0)])).total.requests).toBeNull();
    const view = cluster.add(sample(2_000, [worker('a', 1_400), worker('b', 200)]));
    expect(view.total).toMatchObject({ requests: 300, refused: 75, degraded: 75, failed: 0, remembered: 0.5 });
    expect(view.total.p50_ms).toBeCloseTo(0.556, 3);
    expect(view.total.p99_ms).toBeCloseTo(9.1, 1);
    expect(view.operations.find(({ operation }) => operation === 'join-check')).toMatchObject({ requests: 300 });
    expect(view.workers.map(({ name, requests }) => [name, requests])).toEqual([
      ['host/a', 200],
      ['host/b', 100],
    ]);
    expect(view.sources).toEqual([
      { source: 'app', type: 'http', open_on: 0, workers: 2, in_flight: 2, max_in_flight: 64, queued: 4 },
    ]);
  });

  it('know nothing of a worker that was not there before, and its whole count is no rush', () => {
    const cluster = new ClusterView();
    cluster.add(sample(0, [worker('a', 100)]));
    const view = cluster.add(sample(1_000, [worker('a', 110), worker('b', 1_000_000)]));
    expect(view.total.requests).toBe(10);
    expect(view.workers[1]).toMatchObject({ name: 'host/b', requests: null });
  });

  it('of a worker that has missed a report are of all the time since', () => {
    const cluster = new ClusterView();
    cluster.add(sample(0, [worker('a', 100), worker('b', 0)]));
    const missed = cluster.add(sample(1_000, [worker('b', 0)]));
    expect(missed.workers[0]).toMatchObject({ name: 'host/a', gone_ms: 1_000, requests: null, in_flight: null });
    const back = cluster.add(sample(4_000, [worker('a', 500), worker('b', 0)]));
    expect(back.workers[0]).toMatchObject({ gone_ms: null, requests: 100 });
  });

  it('name who has gone for 30 seconds', () => {
    const cluster = new ClusterView();
    cluster.add(sample(0, [worker('a', 0), worker('b', 0)]));
    expect(cluster.add(sample(30_000, [worker('b', 0)])).workers).toHaveLength(2);
    expect(cluster.add(sample(30_100, [worker('b', 0)])).workers).toHaveLength(1);
  });

  it('say who is behind what others had seen before, and not who has only spoken earlier', () => {
    const cluster = new ClusterView();
    cluster.add(sample(0, [worker('a', 0, { seen: base }), worker('b', 0, { seen: base })]));
    const reports = [worker('a', 0, { seen: base + 8 }), worker('b', 0, { seen: base + 2 })];
    const first = cluster.add(sample(1_000, reports, [{ seen: base, heard_ms: 500 }]));
    expect(first.workers.map(({ behind }) => behind)).toEqual([0, 0]);
    expect(first.hooks[0]).toMatchObject({ behind: 0 });
    const second = cluster.add(sample(2_000, reports, [{ seen: base, heard_ms: 500 }]));
    expect(second.workers.map(({ behind }) => behind)).toEqual([0, 6]);
    expect(second.hooks[0]).toMatchObject({ behind: 8 });
  });

  it('of hooks are sums over the workers that have counted for them, over seconds enough', () => {
    const cluster = new ClusterView();
    const counted = (decided: number) => ({
      hooks: { xmpp1: { decided, remembered: 9 * decided, failures: decided, fallbacks: 0 } },
    });
    const hook = [{ server: 'prosody', version: '0.2.0', gauges: { pending: 1 } }];
    cluster.add(sample(0, [worker('a', 0, counted(100)), worker('b', 0, counted(0))], hook));
    expect(
      cluster.add(sample(4_000, [worker('a', 0, counted(150)), worker('b', 0)], hook)).hooks[0]?.decided,
    ).toBeNull();
    const { hooks } = cluster.add(sample(10_000, [worker('a', 0, counted(150)), worker('b', 0, counted(50))], hook));
    expect(hooks).toMatchObject([
      { name: 'xmpp1', server: 'prosody', version: '0.2.0', decided: 100, remembered: 0.9, failed: 10, fallbacks: 0 },
    ]);
  });

  it('keep the hooks in view while no worker tells of them', () => {
    const cluster = new ClusterView();
    cluster.add(sample(0, [worker('a', 0)], [{}]));
    const silent = { ...sample(5_000, []), members: undefined };
    expect(cluster.add(silent).hooks).toMatchObject([{ name: 'xmpp1', heard_ms: 5_500 }]);
    expect(cluster.add({ ...silent, atMs: 31_000 }).hooks).toEqual([]);
  });
});

describe('the tables', () => {
  it('take 80 columns, whatever names and numbers there are, and are sorted by name', () => {
    const cluster = new ClusterView();
    const long = 'a-host-with-a-very-long-name.department.example.org/1234567';
    const many = { name: long, in_flight: 100_000, hooks: {} };
    const hooks = [{ name: `ejabberd@${long}`, server: 'ejabberd', version: '0.1.0', heard_ms: 12_000 }];
    cluster.add(sample(0, [worker('b', 0, many), worker('a', 0)], hooks));
    const view = cluster.add(sample(1_000, [worker('b', 80_000, many), worker('a', 123_456)], hooks));
    const lines = tablesOf(view, plain);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(lines.join('\n')).toContain('a-host-wit…rg/1234567');
    expect(lines.join('\n')).toMatch(/^ejabberd@a… *\S+ silent for 12 s$/m);
    expect(lines.findIndex((line) => line.startsWith('a-host'))).toBeLessThan(
      lines.findIndex((line) => line.startsWith('host/a')),
    );
  });

  it('say that nobody is there, in words', () => {
    expect(tablesOf(new ClusterView().add(sample(0, [])), plain).filter((line) => line !== '')).toEqual([
      'no worker has been asked anything yet',
      'no worker answers',
      'no hook is heard',
    ]);
  });
});

describe('a quantile', () => {
  it.each<[Record<string, number>, number, number | null]>([
    [{}, 0.5, null],
    [{ '0.001': 0, '+Inf': 0 }, 0.99, null],
    [{ '0.001': 100, '+Inf': 100 }, 0.5, 0.5],
    [{ '0.001': 50, '0.01': 100, '+Inf': 100 }, 0.75, 5.5],
    [{ '0.001': 50, '5': 50, '+Inf': 100 }, 0.99, 5_000],
  ])('of %j at %d', (buckets, quantile, ms) => {
    const found = quantileMs(buckets, quantile);
    if (ms === null) expect(found).toBeNull();
    else expect(found).toBeCloseTo(ms, 6);
  });
});
