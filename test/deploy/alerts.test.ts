/** The rules for Prometheus, by promtool: each alert fires for what it is named after, alone, and none when all is well. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { z } from 'zod';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const rulesFile = join(root, 'deploy/prometheus/warder.rules.yml');
const operations = readFileSync(join(root, 'docs/operations.md'), 'utf8');

const rule = z.object({
  alert: z.string().optional(),
  expr: z.string(),
  labels: z.object({ severity: z.enum(['critical', 'warning']) }).optional(),
  annotations: z.object({ summary: z.string(), description: z.string(), runbook_url: z.string() }).optional(),
});
const { groups } = z
  .object({ groups: z.array(z.object({ rules: z.array(rule) })) })
  .parse(parse(readFileSync(rulesFile, 'utf8')));
const alerts = groups.flatMap(({ rules }) => rules.flatMap((one) => (one.alert === undefined ? [] : [one])));

type Series = Readonly<Record<string, string>>;

/** An hour, with a sample every 30 seconds, of two workers and two hooks with nothing wrong. */
const minutes = 60;
const samples = minutes * 2;
const steady = (value: number): string => `${value}x${samples}`;
const rising = (from: number, by: number): string => `${from}+${by}x${samples}`;

const workerSeries = (instance: string): Series => {
  const at = `job="warder",instance="${instance}"`;
  return Object.fromEntries(
    Object.entries({
      [`up{${at}}`]: steady(1),
      [`process_start_time_seconds{${at}}`]: steady(-7_200),
      [`warder_build_info{${at},version="1.0.0"}`]: steady(1),
      [`warder_nats_connected{${at}}`]: steady(1),
      [`warder_nats_errors_total{${at}}`]: steady(0),
      [`warder_queue_group_member{${at}}`]: steady(1),
      [`warder_queue_group_leaves_total{${at}}`]: steady(0),
      [`warder_request_duration_seconds_count{${at},operation="stanza-check"}`]: rising(0, 3_000),
      [`warder_requests_shed_total{${at},operation="stanza-check",reason="overloaded"}`]: steady(0),
      [`warder_requests_shed_total{${at},operation="stanza-check",reason="expired"}`]: rising(0, 0.1),
      [`warder_decisions_total{${at},operation="stanza-check",source="app",verdict="allow",degraded="false"}`]: rising(
        0,
        3_000,
      ),
      [`warder_decisions_total{${at},operation="stanza-check",source="app",verdict="allow",degraded="true"}`]:
        steady(0),
      [`warder_decisions_total{${at},operation="stanza-check",source="app",verdict="deny",degraded="true"}`]: steady(0),
      [`warder_source_breaker_state{${at},source="app",type="http"}`]: steady(0),
      [`warder_source_call_duration_seconds_count{${at},source="app",type="http",outcome="ok"}`]: rising(0, 600),
      [`warder_source_call_duration_seconds_count{${at},source="app",type="http",outcome="timeout"}`]: rising(0, 2),
      [`warder_source_calls_in_flight{${at},source="app",type="http"}`]: steady(4),
      [`warder_source_calls_in_flight_max{${at},source="app",type="http"}`]: steady(32),
      [`warder_source_calls_queued{${at},source="app",type="http"}`]: steady(0),
      [`warder_freshness_age_seconds{${at}}`]: steady(0.4),
      [`warder_freshness_bound_seconds{${at}}`]: steady(2),
      [`warder_freshness_jetstream{${at}}`]: steady(1),
      [`warder_changes_gaps_total{${at}}`]: steady(3),
      [`warder_changes_seen{${at}}`]: rising(1e12, 120),
      ...nodeSeries(at, 'xmpp-1', 'prosody'),
      ...nodeSeries(at, 'xmpp-2', 'ejabberd'),
    }),
  );
};

function nodeSeries(at: string, node: string, kind: string): Series {
  return {
    [`warder_hook_info{${at},node="${node}",kind="${kind}",version="1.0.0"}`]: steady(1),
    [`warder_hook_seen{${at},node="${node}"}`]: rising(1e12, 120),
    [`warder_hook_rosters_due{${at},node="${node}"}`]: '0x20 40 0x99',
    [`warder_hook_near_cache_events_total{${at},node="${node}",event="gap"}`]: steady(1),
    // From before the hour: nothing new.
    [`warder_hook_fallbacks_total{${at},node="${node}",operation="stanza-check",fallback="allow"}`]: steady(7),
  };
}

const healthy: Series = { ...workerSeries('w1:9464'), ...workerSeries('w2:9464') };

const w1 = 'job="warder",instance="w1:9464"';
const w2 = 'job="warder",instance="w2:9464"';
const both = (series: string, values: string): Series => ({
  [series.replace('$', w1)]: values,
  [series.replace('$', w2)]: values,
});

/** As it was for half an hour, and then something else. */
const from30 = (before: string, after: string): string => `${before}x60 ${after}x59`;
/** What is healthy, for half an hour, and then no samples any more. */
const ended = (series: Series): Series =>
  Object.fromEntries(Object.entries(series).map(([name, values]) => [name, values.replace(/x.*$/, 'x60 _x59')]));

interface Fault {
  readonly alert: string;
  readonly when: string;
  /** In place of what is healthy. */
  readonly series: Series;
  /** Of the alert; several where it fires for several. */
  readonly labels: readonly Record<string, string>[];
  /** The minute at which it is looked for. */
  readonly minute?: number;
  /** It is so from the start, and not from minute 30 on. */
  readonly isOld?: boolean;
}

const operation = 'stanza-check';
const atW1 = { instance: 'w1:9464' };
const app = { source: 'app', type: 'http' };

const faults: readonly Fault[] = [
  {
    alert: 'WarderFailOpen',
    when: 'a hook lets something pass once, and no worker has counted that for the node before',
    series: {
      [`warder_hook_fallbacks_total{${w1},node="new",operation="${operation}",fallback="allow"}`]: '_x66 1x53',
    },
    labels: [{ operation, node: 'new' }],
    minute: 35,
  },
  {
    alert: 'WarderFailOpen',
    when: 'a worker lets something pass for a source that fails',
    series: {
      [`warder_decisions_total{${w1},operation="${operation}",source="app",verdict="allow",degraded="true"}`]:
        '0x60 0+10x59',
    },
    labels: [{ operation, source: 'app' }],
  },
  {
    alert: 'WarderFailClosed',
    when: 'a hook refuses for want of an answer',
    series: {
      [`warder_hook_fallbacks_total{${w1},node="xmpp-1",operation="join-check",fallback="deny"}`]: '0x60 0+1x59',
    },
    labels: [{ operation: 'join-check', node: 'xmpp-1' }],
  },
  {
    alert: 'WarderFailClosed',
    when: 'a worker refuses for a source that fails',
    series: {
      [`warder_decisions_total{${w1},operation="${operation}",source="app",verdict="deny",degraded="true"}`]:
        '0x60 0+10x59',
    },
    labels: [{ operation, source: 'app' }],
  },
  {
    alert: 'WarderNoWorker',
    when: 'none is scraped any more',
    series: ended(healthy),
    labels: [{}],
  },
  {
    alert: 'WarderWorkerDown',
    when: 'one that was scraped is not any more',
    series: {
      ...ended(workerSeries('w1:9464')),
      [`up{${w1}}`]: from30('1', '0'),
    },
    labels: [{ ...atW1 }],
  },
  {
    alert: 'WarderDisconnected',
    when: 'one has no connection',
    series: { [`warder_nats_connected{${w1}}`]: from30('1', '0') },
    labels: [{ ...atW1 }],
  },
  {
    alert: 'WarderDenied',
    when: 'NATS has refused something',
    series: { [`warder_nats_errors_total{${w1}}`]: from30('0', '1') },
    labels: [{ ...atW1 }],
    minute: 35,
  },
  {
    alert: 'WarderOverloaded',
    when: 'one question in a hundred is turned away',
    series: {
      [`warder_requests_shed_total{${w1},operation="${operation}",reason="overloaded"}`]: '0x60 0+60x59',
    },
    labels: [{ operation }],
  },
  {
    alert: 'WarderLeftGroup',
    when: 'one takes no questions',
    series: { [`warder_queue_group_member{${w1}}`]: from30('1', '0') },
    labels: [{ ...atW1 }],
  },
  {
    alert: 'WarderLeftGroup',
    when: 'one leaves again and again',
    series: { [`warder_queue_group_leaves_total{${w1}}`]: '0x60 1 2 3 4x56' },
    labels: [{ ...atW1 }],
  },
  {
    alert: 'WarderSourceOpen',
    when: 'a circuit is open, with tries between',
    series: { [`warder_source_breaker_state{${w1},source="app",type="http"}`]: `0x60 ${'2 1 '.repeat(30)}2` },
    labels: [{ ...app }],
  },
  {
    alert: 'WarderSourceFailing',
    when: 'a tenth of the calls fails',
    series: both(
      'warder_source_call_duration_seconds_count{$,source="app",type="http",outcome="timeout"}',
      '0x60 0+66x59',
    ),
    labels: [{ ...app }],
  },
  {
    alert: 'WarderSourceCrowded',
    when: 'all places are taken and calls wait',
    series: {
      ...both('warder_source_calls_in_flight{$,source="app",type="http"}', from30('4', '32')),
      ...both('warder_source_calls_queued{$,source="app",type="http"}', from30('0', '9')),
    },
    labels: [{ ...app }],
  },
  {
    alert: 'WarderUnproved',
    when: 'the proof is older than the bound',
    series: { [`warder_freshness_age_seconds{${w1}}`]: '0.4x60 5+30x59' },
    labels: [{ ...atW1 }],
  },
  {
    alert: 'WarderUnproved',
    when: 'there has never been a proof',
    series: { [`warder_freshness_age_seconds{${w1}}`]: '_x119' },
    labels: [{ ...atW1 }],
    isOld: true,
  },
  {
    alert: 'WarderJetStreamOff',
    when: 'a worker runs without',
    series: { [`warder_freshness_jetstream{${w1}}`]: from30('1', '0') },
    labels: [{ ...atW1 }],
  },
  {
    alert: 'WarderGaps',
    when: 'a worker and a hook miss changes twice',
    series: {
      [`warder_changes_gaps_total{${w1}}`]: '3x62 4 5x56',
      [`warder_hook_near_cache_events_total{${w1},node="xmpp-2",event="gap"}`]: '1x62 2 3x56',
    },
    labels: [{ ...atW1 }, { node: 'xmpp-2' }],
  },
  {
    alert: 'WarderHookGone',
    when: 'no worker hears one any more',
    series: ended({ ...nodeSeries(w1, 'xmpp-1', 'prosody'), ...nodeSeries(w2, 'xmpp-1', 'prosody') }),
    labels: [{ node: 'xmpp-1' }],
  },
  {
    alert: 'WarderHookDeaf',
    when: 'its number stands still and that of the workers does not',
    series: both('warder_hook_seen{$,node="xmpp-1"}', '1000000000000+120x60 1000000007200x59'),
    labels: [{ node: 'xmpp-1' }],
  },
  {
    alert: 'WarderRostersDue',
    when: 'rosters stay due',
    series: both('warder_hook_rosters_due{$,node="xmpp-2"}', from30('0', '40')),
    labels: [{ node: 'xmpp-2' }],
  },
];

/** What promtool is to find: what fires at this minute, and nothing else. */
function firing(minute: number, expected: readonly Record<string, string>[]): object {
  const asLabels = (labels: Record<string, string>): string =>
    `ALERTS{${Object.entries(labels)
      .map(([name, value]) => `${name}="${value}"`)
      .join(',')}}`;
  return {
    expr: 'ALERTS{alertstate="firing"}',
    eval_time: `${minute}m`,
    exp_samples: expected.map((labels) => ({ labels: asLabels({ ...labels, alertstate: 'firing' }), value: 1 })),
  };
}

function labelsOf({ alert, labels }: Fault): Record<string, string>[] {
  const severity = alerts.find((one) => one.alert === alert)?.labels?.severity ?? '';
  const isAboutAll = alert === 'WarderNoWorker';
  return labels.map((one) => ({ alertname: alert, severity, ...(isAboutAll ? {} : { job: 'warder' }), ...one }));
}

async function promtool(tests: readonly { series: Series; expected: object[] }[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-alerts-'));
  try {
    const file = join(folder, 'alerts.yml');
    const text = {
      rule_files: [rulesFile],
      evaluation_interval: '30s',
      tests: tests.map(({ series, expected }) => ({
        interval: '30s',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        promql_expr_test: expected,
      })),
    };
    writeFileSync(file, stringify(text));
    return await run('promtool', ['test', 'rules', file]).then(
      ({ stdout }) => stdout,
      (error: { stdout?: string; stderr?: string }) => `${error.stdout ?? ''}${error.stderr ?? ''}`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('the scrape configuration in the operations', () => {
  it('is one that promtool takes', async () => {
    const [sample = ''] = /(?<=```yaml\n)global:[^]*?(?=```)/.exec(operations) ?? [];
    const folder = mkdtempSync(join(tmpdir(), 'warder-test-scraping-'));
    try {
      const file = join(folder, 'prometheus.yml');
      // Debian's Prometheus is built without the discovery of Kubernetes.
      const readable = sample.replace(/kubernetes_sd_configs: .*/, 'static_configs: []');
      writeFileSync(file, readable.replace('/etc/prometheus/rules/*', join(root, 'deploy/prometheus/*')));
      const { stdout } = await run('promtool', ['check', 'config', file]);
      expect(stdout).toMatch(/SUCCESS: .*prometheus config file[^]*SUCCESS: \d+ rules found/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('the rules for Prometheus', () => {
  it('are such that promtool takes them', async () => {
    const { stdout } = await run('promtool', ['check', 'rules', '--lint-fatal', rulesFile]);
    expect(stdout).toMatch(/SUCCESS: \d+ rules found/);
  });

  it('fire for nothing while all is well', async () => {
    const minutesLooked = [1, 5, 10, 15, 30, 45, 59];
    const result = await promtool([{ series: healthy, expected: minutesLooked.map((minute) => firing(minute, [])) }]);
    expect(result).toContain('SUCCESS');
  });

  it.each(faults)('have $alert fire when $when, and nothing else', async (fault) => {
    const { series, minute = 42, isOld = false } = fault;
    const expected = [...(isOld ? [] : [firing(29, [])]), firing(minute, labelsOf(fault))];
    expect(await promtool([{ series: { ...healthy, ...series }, expected }])).toContain('SUCCESS');
  });

  it('have a fault above for each alert', () => {
    expect(new Set(faults.map(({ alert }) => alert))).toEqual(new Set(alerts.map(({ alert }) => alert)));
  });

  it.each(alerts)('say of $alert how bad it is, and lead to its section of the operations', ({ alert, ...said }) => {
    expect(said.labels?.severity).toMatch(/critical|warning/);
    expect(said.annotations?.runbook_url).toBe(`docs/operations.md#${alert?.toLowerCase()}`);
    const section = operations.split(/^(?=##)/m).find((one) => one.startsWith(`### ${alert}\n`));
    for (const part of ['**Means.**', '**See it.**', '**Do.**']) expect(section).toContain(part);
  });
});
