/**
 * What the XMPP servers see and a worker cannot: nobody answering, fallbacks, near caches. Counts of a hook are spread
 * over the workers and summed; how a hook stands is exported by every worker, so that the largest of them is taken.
 */
import { createDashboard } from './dashboard.ts';
import { graph, stat, table } from './panels.ts';

const one = 'job=~"$job",node=~"$node"';
const counted = (metric: string, by: string): string =>
  `sum by (${by}) (rate(${metric}{${one},operation=~"$operation"}[$__rate_interval]))`;

export const hooks = createDashboard({
  uid: 'warder-hooks',
  title: 'Warder: hooks and fallbacks',
  description: 'What each XMPP server asked, what it was not answered, and what it did then.',
  variables: ['node', 'operation'],
  alerts: ['WarderHookGone', 'WarderHookDeaf', 'WarderFailOpen', 'WarderFailClosed', 'WarderRostersDue'],
  rows: [
    {
      title: 'Is it all right?',
      panels: [
        stat({
          title: 'Hooks heard',
          description:
            'Within 30 seconds. Fewer than you run: a server is down, has unloaded its module, or has no connection to NATS. Alert: WarderHookGone.',
          unit: 'short',
          width: 6,
          thresholds: [
            [null, 'red'],
            [1, 'green'],
          ],
          query: `count(max by (node) (warder_hook_info{${one}})) or vector(0)`,
        }),
        stat({
          title: 'Allowed undecided',
          description:
            'A second, by the fallback allow. Whoever is blocked gets through meanwhile. “Failures” says why nobody decided. Alert: WarderFailOpen.',
          unit: 'reqps',
          width: 6,
          thresholds: [
            [null, 'green'],
            [0.000_001, 'red'],
          ],
          query: `sum(rate(warder_hook_fallbacks_total{${one},operation=~"$operation",fallback="allow"}[$__rate_interval])) or vector(0)`,
        }),
        stat({
          title: 'Refused undecided',
          description:
            'A second, by the fallbacks deny, drop, defer and error: users cannot do what they may. “Failures” says why nobody decided. Alert: WarderFailClosed.',
          unit: 'reqps',
          width: 6,
          thresholds: [
            [null, 'green'],
            [0.000_001, 'red'],
          ],
          query: `sum(rate(warder_hook_fallbacks_total{${one},operation=~"$operation",fallback=~"deny|drop|defer|error"}[$__rate_interval])) or vector(0)`,
        }),
        stat({
          title: 'Answered without asking',
          description:
            'The share of decisions that near caches gave. After a restart of a server it begins at 0 and rises with the traffic.',
          unit: 'percentunit',
          decimals: 0,
          width: 6,
          query: `sum(rate(warder_hook_decisions_total{${one},operation=~"$operation",by="near-cache"}[$__rate_interval])) / sum(rate(warder_hook_decisions_total{${one},operation=~"$operation"}[$__rate_interval]))`,
        }),
      ],
    },
    {
      title: 'Decisions',
      panels: [
        graph({
          title: 'Decisions, by node',
          description:
            'What hooks acted on, from workers and near caches. A node far from the others gets other traffic.',
          unit: 'reqps',
          width: 12,
          isStacked: true,
          queries: [{ expr: counted('warder_hook_decisions_total', 'node, by'), legend: '{{node}} {{by}}' }],
        }),
        graph({
          title: 'Verdicts, by operation',
          description:
            'What was done to users, remembered or not. It is larger than what the workers count by what is remembered.',
          unit: 'reqps',
          width: 12,
          isStacked: true,
          queries: [
            { expr: counted('warder_hook_decisions_total', 'operation, verdict'), legend: '{{operation}} {{verdict}}' },
          ],
        }),
        graph({
          title: 'Failures',
          description:
            'Questions without an answer, by what happened. no-responders: no worker in the group. timeout: slower than the budget. disconnected: no connection to NATS. bad-reply: versions that do not fit. crashed: a fault of the hook, the server’s log says more.',
          unit: 'reqps',
          width: 12,
          queries: [{ expr: counted('warder_hook_failures_total', 'node, kind'), legend: '{{node}} {{kind}}' }],
        }),
        graph({
          title: 'Fallbacks',
          description:
            'What was done without an answer. All nodes at once: workers, sources or NATS. One node alone: its connection or its machine. Alerts: WarderFailOpen, WarderFailClosed.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: counted('warder_hook_fallbacks_total', 'node, operation, fallback'),
              legend: '{{node}} {{operation}} {{fallback}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'Near caches',
      panels: [
        graph({
          title: 'What they do',
          description:
            'miss: asked a worker. unproved: remembered, but the proof was too old. eviction: full. gap and clear: everything dropped; see “freshness”.',
          unit: 'cps',
          width: 12,
          queries: [
            {
              expr: `sum by (event) (rate(warder_hook_near_cache_events_total{${one}}[$__rate_interval]))`,
              legend: '{{event}}',
            },
          ],
        }),
        graph({
          title: 'How full they are',
          description: 'Of their bound. At 100 % with evictions, raise the size in the options of the hook.',
          unit: 'percentunit',
          max: 1,
          width: 12,
          queries: [
            {
              expr: `max by (node) (warder_hook_near_cache_entries{${one}} / warder_hook_near_cache_entries_max{${one}})`,
              legend: '{{node}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'Nodes',
      panels: [
        graph({
          title: 'Questions that wait for an answer',
          description: 'A few. When it grows, workers or NATS are slower than the questions come.',
          unit: 'short',
          width: 12,
          queries: [{ expr: `max by (node) (warder_hook_pending_requests{${one}})`, legend: '{{node}}' }],
        }),
        graph({
          title: 'Connected to NATS since',
          description: 'A line that falls to 0 is a reconnect, after which all that was remembered is dropped.',
          unit: 's',
          width: 12,
          queries: [{ expr: `max by (node) (warder_hook_connected_seconds{${one}})`, legend: '{{node}}' }],
        }),
        graph({
          title: 'Rosters: kept and due',
          description:
            'Users whose rosters a node keeps, and those of which it has to ask again. Due ones that stay: the source of the rosters fails. Alert: WarderRostersDue.',
          unit: 'short',
          width: 12,
          queries: [
            { expr: `max by (node) (warder_hook_rosters_online{${one}})`, legend: '{{node}} kept' },
            { expr: `max by (node) (warder_hook_rosters_due{${one}})`, legend: '{{node}} due' },
          ],
        }),
        table({
          title: 'Versions',
          description:
            'Which hook and which worker runs where. Different versions understand each other; do not leave it so for long.',
          unit: 'short',
          width: 6,
          hidden: ['Time', 'Value'],
          query: `max by (node, kind, version) (warder_hook_info{${one}}) or max by (node, kind, version) (label_replace(label_replace(warder_build_info{job=~"$job"}, "node", "$1", "instance", "(.*)"), "kind", "worker", "", ""))`,
        }),
        graph({
          title: 'Reports',
          description:
            'In which hooks say what they counted. repeated: an acknowledgement was lost, nothing is counted twice. refused: a hook of a version that this worker does not understand, so its counts are missing here.',
          unit: 'cps',
          width: 6,
          queries: [
            {
              expr: 'sum by (outcome) (rate(warder_hook_reports_total{job=~"$job"}[$__rate_interval]))',
              legend: '{{outcome}}',
            },
          ],
        }),
      ],
    },
  ],
});
