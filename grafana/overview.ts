/** The cluster by operation: the first look, and whether a second one is needed. */
import { createDashboard } from './dashboard.ts';
import { graph, stat } from './panels.ts';

const p = (quantile: number): string =>
  `histogram_quantile(${quantile}, sum by (le, operation) (rate(warder_request_duration_seconds_bucket{job=~"$job",operation=~"$operation"}[$__rate_interval])))`;

export const overview = createDashboard({
  uid: 'warder-overview',
  title: 'Warder: overview',
  description: 'Whether every question is decided, how fast and by whom. The other dashboards say why not.',
  variables: ['operation'],
  alerts: ['WarderFailOpen', 'WarderFailClosed', 'WarderNoWorker', 'WarderOverloaded'],
  rows: [
    {
      title: 'Is it all right?',
      panels: [
        stat({
          title: 'Workers',
          description:
            'Workers that take questions: connected, and in the queue group. Below the number that you run, one is down, cut off or too busy: see “one worker”. At 0 every hook acts on its fallbacks. Alert: WarderNoWorker.',
          unit: 'short',
          width: 3,
          thresholds: [
            [null, 'red'],
            [1, 'orange'],
            [2, 'green'],
          ],
          query: 'sum(warder_nats_connected{job=~"$job"} * warder_queue_group_member{job=~"$job"}) or vector(0)',
        }),
        stat({
          title: 'Hooks heard',
          description:
            'XMPP servers that workers have heard of within 30 seconds. Below the number that you run, one is down or has no connection to NATS: see “hooks”. Alert: WarderHookGone.',
          unit: 'short',
          width: 3,
          thresholds: [
            [null, 'red'],
            [1, 'green'],
          ],
          query: 'count(max by (node) (warder_hook_info{job=~"$job"})) or vector(0)',
        }),
        stat({
          title: 'Allowed undecided',
          description:
            'What hooks have let pass a second because nobody answered and the fallback says allow. Whoever is blocked gets through meanwhile: find out in “hooks” which failure it is, or set the fallback to deny. Alert: WarderFailOpen.',
          unit: 'reqps',
          width: 3,
          thresholds: [
            [null, 'green'],
            [0.000_001, 'red'],
          ],
          query:
            'sum(rate(warder_hook_fallbacks_total{job=~"$job",operation=~"$operation",fallback="allow"}[$__rate_interval])) or vector(0)',
        }),
        stat({
          title: 'Decided',
          description:
            'Of what hooks had to know, the part that a worker or the near cache has decided; the rest took the fallback. Below 99.9 % look at “hooks” for the kind of failure.',
          unit: 'percentunit',
          decimals: 2,
          width: 3,
          thresholds: [
            [null, 'red'],
            [0.99, 'orange'],
            [0.999, 'green'],
          ],
          query:
            'sum(rate(warder_hook_decisions_total{job=~"$job",operation=~"$operation"}[$__rate_interval])) / (sum(rate(warder_hook_decisions_total{job=~"$job",operation=~"$operation"}[$__rate_interval])) + (sum(rate(warder_hook_fallbacks_total{job=~"$job",operation=~"$operation"}[$__rate_interval])) or vector(0)))',
        }),
        stat({
          title: 'p99 of checks',
          description:
            'The time in which workers answer 99 of 100 checks. Hooks wait 250 ms for a stanza and 1 s for the others, unless configured. When it nears that, look at “sources”: it is mostly them.',
          unit: 's',
          width: 3,
          thresholds: [
            [null, 'green'],
            [0.1, 'orange'],
            [0.25, 'red'],
          ],
          query:
            'histogram_quantile(0.99, sum by (le) (rate(warder_request_duration_seconds_bucket{job=~"$job",operation=~".*-check"}[$__rate_interval])))',
        }),
        stat({
          title: 'Age of proof',
          description:
            'How old the oldest proof of a worker is that what it remembers is fresh, as part of the staleness bound. Above 100 % it serves nothing from memory and asks the sources: see “freshness”. Alert: WarderUnproved.',
          unit: 'percentunit',
          decimals: 0,
          width: 3,
          thresholds: [
            [null, 'green'],
            [0.75, 'orange'],
            [1, 'red'],
          ],
          query: 'max(warder_freshness_age_seconds{job=~"$job"} / warder_freshness_bound_seconds{job=~"$job"})',
        }),
        stat({
          title: 'Sources not called',
          description:
            'Sources of which at least one worker has opened the circuit. What they decide takes the fallback: see “sources”. Alert: WarderSourceOpen.',
          unit: 'short',
          width: 3,
          thresholds: [
            [null, 'green'],
            [1, 'red'],
          ],
          query: 'count(max by (source) (warder_source_breaker_state{job=~"$job"}) > 0) or vector(0)',
        }),
        stat({
          title: 'Turned away',
          description:
            'Questions a second that workers did not begin, since too many waited or the budget had passed. Start more workers, or see in “sources” which one is slow. Alert: WarderOverloaded.',
          unit: 'reqps',
          width: 3,
          thresholds: [
            [null, 'green'],
            [0.000_001, 'red'],
          ],
          query: 'sum(rate(warder_requests_shed_total{job=~"$job",operation=~"$operation"}[$__rate_interval]))',
        }),
      ],
    },
    {
      title: 'By operation',
      panels: [
        graph({
          title: 'Questions to workers',
          description:
            'What the near caches do not answer. A jump without more users means that hooks have dropped what they remember (see “freshness”) or restarted.',
          unit: 'reqps',
          width: 12,
          isStacked: true,
          queries: [
            {
              expr: 'sum by (operation) (rate(warder_request_duration_seconds_count{job=~"$job",operation=~"$operation"}[$__rate_interval]))',
              legend: '{{operation}}',
            },
          ],
        }),
        graph({
          title: 'Time to answer: median and p99',
          description:
            'In the worker, from the arrival of a question to its answer; the way through NATS comes on top. The line is what hooks wait for a stanza check unless configured.',
          unit: 's',
          width: 12,
          thresholds: [
            [null, 'green'],
            [0.25, 'red'],
          ],
          queries: [
            { expr: p(0.5), legend: '{{operation}} median' },
            { expr: p(0.99), legend: '{{operation}} p99' },
          ],
        }),
        graph({
          title: 'Verdicts',
          description:
            'What workers decide. Denials that rise at once for everybody mostly come from a change in the application or its data: ask there first.',
          unit: 'reqps',
          width: 12,
          isStacked: true,
          queries: [
            {
              expr: 'sum by (operation, verdict) (rate(warder_decisions_total{job=~"$job",operation=~"$operation"}[$__rate_interval])) > 0',
              legend: '{{operation}} {{verdict}}',
            },
          ],
        }),
        graph({
          title: 'Degraded decisions',
          description:
            'Answers by the fallback that a worker has for a source that failed: no real decisions. “Sources” says which one and why. Alerts: WarderFailOpen, WarderFailClosed.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: 'sum by (operation, source, verdict) (rate(warder_decisions_total{job=~"$job",operation=~"$operation",degraded="true"}[$__rate_interval])) > 0',
              legend: '{{operation}} {{source}} {{verdict}}',
            },
          ],
        }),
        graph({
          title: 'Failures answered by workers',
          description:
            'By kind. source-unavailable: see “sources”. overloaded, expired: see “Turned away”. bad-request, too-large: a client provokes it, or a hook of another version. internal: a fault of the worker, its log says more.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: 'sum by (operation, kind) (rate(warder_failures_total{job=~"$job",operation=~"$operation"}[$__rate_interval])) > 0',
              legend: '{{operation}} {{kind}}',
            },
          ],
        }),
        graph({
          title: 'Fallbacks taken by hooks',
          description:
            'What hooks did without an answer, by operation. allow lets pass what nobody has decided; deny, defer and error refuse it; last-known serves an old roster.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: 'sum by (operation, fallback) (rate(warder_hook_fallbacks_total{job=~"$job",operation=~"$operation"}[$__rate_interval]))',
              legend: '{{operation}} {{fallback}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'Who answers',
      panels: [
        graph({
          title: 'Near cache, worker, source',
          description:
            'Where decisions come from: what hooks remember, what workers were asked, and the calls that were left for the sources. The distance between the lines is what remembering saves.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: 'sum by (by) (rate(warder_hook_decisions_total{job=~"$job"}[$__rate_interval]))',
              legend: 'hooks, decided by {{by}}',
            },
            {
              expr: 'sum(rate(warder_source_call_duration_seconds_count{job=~"$job"}[$__rate_interval]))',
              legend: 'calls to sources',
            },
          ],
        }),
        graph({
          title: 'Share that is remembered',
          description:
            'Hits of the near caches and of the workers’ caches. Low for minutes after a change for everybody; low for good means scopes of none or TTLs of 0 at the source, or a cache that is too small (“one worker”).',
          unit: 'percentunit',
          max: 1,
          width: 12,
          queries: [
            {
              expr: 'sum(rate(warder_hook_near_cache_events_total{job=~"$job",event="hit"}[$__rate_interval])) / sum(rate(warder_hook_near_cache_events_total{job=~"$job",event=~"hit|miss"}[$__rate_interval]))',
              legend: 'near caches',
            },
            {
              expr: 'sum by (cache) (rate(warder_cache_requests_total{job=~"$job",result="hit"}[$__rate_interval])) / (sum by (cache) (rate(warder_cache_requests_total{job=~"$job"}[$__rate_interval])) > 0)',
              legend: 'workers: {{cache}}',
            },
          ],
        }),
      ],
    },
  ],
});
