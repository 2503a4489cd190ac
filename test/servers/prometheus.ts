/** Debian's Prometheus on loopback, scraping what a test names, twice a second. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { freePort } from './free-port.ts';
import { startProcess } from './process.ts';

const series = z.object({
  metric: z.record(z.string(), z.string()),
  values: z.array(z.tuple([z.number(), z.string()])),
});
const answer = z.object({ status: z.literal('success'), data: z.object({ result: z.array(series) }) });
const rulesAnswer = z.object({
  data: z.object({
    groups: z.array(
      z.object({
        rules: z.array(
          z.object({
            name: z.string(),
            type: z.enum(['alerting', 'recording']),
            health: z.string(),
            lastError: z.string().optional(),
            state: z.string().optional(),
          }),
        ),
      }),
    ),
  }),
});

export type SeriesOverTime = z.output<typeof series>;
export type RuleState = z.output<typeof rulesAnswer>['data']['groups'][number]['rules'][number];

export interface Prometheus {
  readonly url: string;
  /** By `query_range`, from its start until now unless told. @throws Error with Prometheus' words about a query that is none */
  query(expr: string, options?: { stepSeconds?: number; startSeconds?: number }): Promise<SeriesOverTime[]>;
  rules(): Promise<RuleState[]>;
  stop(): Promise<void>;
}

export interface PrometheusOptions {
  /** host:port of each, as one job named `warder`. */
  readonly targets: readonly string[];
  readonly ruleFiles?: readonly string[];
}

export async function startPrometheus({ targets, ruleFiles = [] }: PrometheusOptions): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'warder-test-prometheus-'));
  const config = {
    global: { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' },
    rule_files: ruleFiles,
    scrape_configs: [{ job_name: 'warder', static_configs: [{ targets }] }],
  };
  writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
  const port = await freePort();
  const child = await startProcess({
    command: 'prometheus',
    args: [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    ready: /Server is ready to receive web requests/,
  });
  const url = `http://127.0.0.1:${port}`;
  const startedAt = Date.now() / 1_000;
  return {
    url,
    async query(expr, { stepSeconds = 0.5, startSeconds = startedAt } = {}) {
      const [start, end, step] = [startSeconds, Date.now() / 1_000, stepSeconds].map(String) as [
        string,
        string,
        string,
      ];
      const response = await fetch(`${url}/api/v1/query_range`, {
        method: 'POST',
        body: new URLSearchParams({ query: expr, start, end, step }),
      });
      if (!response.ok) throw new Error(`${expr}: ${await response.text()}`);
      return answer.parse(await response.json()).data.result;
    },
    async rules() {
      const response = await fetch(`${url}/api/v1/rules`);
      return rulesAnswer.parse(await response.json()).data.groups.flatMap(({ rules }) => rules);
    },
    async stop() {
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
