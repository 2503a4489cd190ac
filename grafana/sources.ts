/** The operator's own systems, as the workers find them. */
import { createDashboard } from './dashboard.ts';
import { graph, stat, timeline } from './panels.ts';

const one = 'job=~"$job",source=~"$source"';

export const sources = createDashboard({
  uid: 'warder-sources',
  title: 'Warder: sources',
  description: 'Where decisions come from: whether they answer, how fast, and how much more they can take.',
  variables: ['source'],
  alerts: ['WarderSourceOpen', 'WarderSourceFailing', 'WarderSourceCrowded'],
  rows: [
    {
      title: 'Is it all right?',
      panels: [
        stat({
          title: 'Calls that fail',
          description:
            'Of all calls to sources. “Outcomes” says how they fail, and the log of the workers has each with its reason. Alert: WarderSourceFailing.',
          unit: 'percentunit',
          decimals: 2,
          width: 6,
          thresholds: [
            [null, 'green'],
            [0.01, 'orange'],
            [0.05, 'red'],
          ],
          query: `sum(rate(warder_source_call_duration_seconds_count{${one},outcome!="ok"}[$__rate_interval])) / sum(rate(warder_source_call_duration_seconds_count{${one}}[$__rate_interval])) or vector(0)`,
        }),
        stat({
          title: 'Slowest p99',
          description:
            'Of the source that is slowest. Hooks give a stanza check 250 ms, unless configured; what a source takes longer is answered too late, though remembered for the next time.',
          unit: 's',
          width: 6,
          thresholds: [
            [null, 'green'],
            [0.1, 'orange'],
            [0.25, 'red'],
          ],
          query: `max(histogram_quantile(0.99, sum by (le, source) (rate(warder_source_call_duration_seconds_bucket{${one}}[$__rate_interval]))))`,
        }),
        stat({
          title: 'Circuits open',
          description:
            'Pairs of worker and source between which nothing is called but a try every few seconds. Alert: WarderSourceOpen.',
          unit: 'short',
          width: 6,
          thresholds: [
            [null, 'green'],
            [1, 'red'],
          ],
          query: `count(warder_source_breaker_state{${one}} > 0) or vector(0)`,
        }),
        stat({
          title: 'Fullest source',
          description:
            'Calls under way of those that may be at once (`max_concurrent`), over all workers. At 100 % further calls queue: raise it if the source can take more, else see why it is slow. Alert: WarderSourceCrowded.',
          unit: 'percentunit',
          decimals: 0,
          width: 6,
          thresholds: [
            [null, 'green'],
            [0.7, 'orange'],
            [0.9, 'red'],
          ],
          query: `max(sum by (source) (warder_source_calls_in_flight{${one}}) / sum by (source) (warder_source_calls_in_flight_max{${one}}))`,
        }),
      ],
    },
    {
      title: 'Answers',
      panels: [
        graph({
          title: 'Outcomes',
          description:
            'Calls a second. timeout: too slow. breaker-open and bulkhead-full: not called at all. The others: it answered what is no decision, or not at all; the log of the workers says what.',
          unit: 'reqps',
          width: 12,
          isStacked: true,
          queries: [
            {
              expr: `sum by (source, outcome) (rate(warder_source_call_duration_seconds_count{${one}}[$__rate_interval]))`,
              legend: '{{source}} {{outcome}}',
            },
          ],
        }),
        graph({
          title: 'Time to answer: median and p99',
          description:
            'From when a call is wanted to its answer: the wait for a place is in it, and shown by itself below. A p99 far from the median without such a wait is a source with pauses (locks, garbage collection, a cold pool).',
          unit: 's',
          width: 12,
          thresholds: [
            [null, 'green'],
            [0.25, 'red'],
          ],
          queries: [0.5, 0.99].map((quantile) => ({
            expr: `histogram_quantile(${quantile}, sum by (le, source) (rate(warder_source_call_duration_seconds_bucket{${one}}[$__rate_interval])))`,
            legend: `{{source}} ${quantile === 0.5 ? 'median' : 'p99'}`,
          })),
        }),
        timeline({
          title: 'Circuits',
          description:
            'The worst of all workers. Open: after many failures in a row nothing is called, and questions take the fallback. Trying: one call finds out whether it is back. Without questions nobody tries, and it stays open. Alert: WarderSourceOpen.',
          unit: 'short',
          width: 12,
          thresholds: [
            [null, 'green'],
            [1, 'orange'],
            [2, 'red'],
          ],
          words: {
            0: { text: 'closed', color: 'green' },
            1: { text: 'trying', color: 'orange' },
            2: { text: 'open', color: 'red' },
          },
          query: { expr: `max by (source) (warder_source_breaker_state{${one}})`, legend: '{{source}}' },
        }),
        graph({
          title: 'Degraded decisions',
          description:
            'Answered by the fallback configured for the source (`fallback`): no decisions of it. With the fallback fail, the hook’s own applies instead, which “hooks” shows.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: `sum by (source, operation, verdict) (rate(warder_decisions_total{${one},degraded="true"}[$__rate_interval])) > 0`,
              legend: '{{source}} {{operation}} {{verdict}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'Room for more',
      panels: [
        graph({
          title: 'Calls under way',
          description:
            'Beside as many as may be at once over all workers. Near it the source is the bottleneck: more workers raise the limit, and its load.',
          unit: 'short',
          width: 12,
          queries: [
            { expr: `sum by (source) (warder_source_calls_in_flight{${one}})`, legend: '{{source}}' },
            { expr: `sum by (source) (warder_source_calls_in_flight_max{${one}})`, legend: '{{source}} at most' },
          ],
        }),
        graph({
          title: 'Calls that wait for a place',
          description:
            'Zero, but for moments after a change for everybody. When it stays, answers come too late; at `max_queued` they fail. Alert: WarderSourceCrowded.',
          unit: 'short',
          width: 12,
          queries: [{ expr: `sum by (source) (warder_source_calls_queued{${one}})`, legend: '{{source}}' }],
        }),
        graph({
          title: 'p99 of the wait for a place',
          description: 'What queueing adds to the answers. It counts towards the budget that hooks give.',
          unit: 's',
          width: 12,
          queries: [
            {
              expr: `histogram_quantile(0.99, sum by (le, source) (rate(warder_source_queue_wait_seconds_bucket{${one}}[$__rate_interval])))`,
              legend: '{{source}}',
            },
          ],
        }),
        graph({
          title: 'Calls saved',
          description:
            'Questions that joined an identical one under way, and questions answered from memory. What is left is called.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: 'sum by (cache) (rate(warder_lookups_joined_total{job=~"$job"}[$__rate_interval]))',
              legend: 'joined: {{cache}}',
            },
            {
              expr: 'sum by (cache) (rate(warder_cache_requests_total{job=~"$job",result="hit"}[$__rate_interval]))',
              legend: 'remembered: {{cache}}',
            },
          ],
        }),
      ],
    },
  ],
});
