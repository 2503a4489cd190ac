/** Whether changes arrive everywhere, and whether that can be proved. */
import { createDashboard } from './dashboard.ts';
import { graph, stat } from './panels.ts';

export const freshness = createDashboard({
  uid: 'warder-freshness',
  title: 'Warder: freshness',
  description: 'Whether changes reach every worker and every hook, and how old the proof of it is.',
  variables: ['node'],
  alerts: ['WarderUnproved', 'WarderJetStreamOff', 'WarderGaps', 'WarderHookDeaf', 'WarderRostersDue'],
  rows: [
    {
      title: 'Is it all right?',
      panels: [
        stat({
          title: 'Workers without proof',
          description:
            'Workers whose proof is older than the staleness bound. They serve nothing from memory: NATS or its JetStream is slow, without a leader or gone. Alert: WarderUnproved.',
          unit: 'short',
          width: 5,
          thresholds: [
            [null, 'green'],
            [1, 'red'],
          ],
          query:
            'count(warder_freshness_age_seconds{job=~"$job"} > warder_freshness_bound_seconds{job=~"$job"}) or vector(0)',
        }),
        stat({
          title: 'Workers without JetStream',
          description:
            'Nothing orders the changes for them, so freshness cannot be proved: a missed change lasts as long as the TTLs. Alert: WarderJetStreamOff.',
          unit: 'short',
          width: 5,
          thresholds: [
            [null, 'green'],
            [1, 'orange'],
          ],
          query: 'count(warder_freshness_jetstream{job=~"$job"} == 0) or vector(0)',
        }),
        stat({
          title: 'Hooks behind',
          description:
            'Hooks whose number has not moved for a minute while that of the workers has: their subscription or connection is broken. Alert: WarderHookDeaf.',
          unit: 'short',
          width: 5,
          thresholds: [
            [null, 'green'],
            [1, 'red'],
          ],
          query:
            'count(max by (node) (delta(warder_hook_seen{job=~"$job"}[1m])) == 0 and on () (max(delta(warder_changes_seen{job=~"$job"}[1m])) > 0)) or vector(0)',
        }),
        stat({
          title: 'Gaps in an hour',
          description:
            'Times that a worker missed a number and dropped everything. One now and then is an election of JetStream; many are lost messages: look for slow consumers in the log of NATS. Alert: WarderGaps.',
          unit: 'short',
          decimals: 0,
          width: 5,
          thresholds: [
            [null, 'green'],
            [1, 'orange'],
            [10, 'red'],
          ],
          query: 'sum(increase(warder_changes_gaps_total{job=~"$job"}[1h]))',
        }),
        stat({
          title: 'Rosters due',
          description:
            'Rosters in hooks that may be old and wait to be fetched again. It falls within seconds after a change for everybody; when it stays, the source of the rosters fails. Alert: WarderRostersDue.',
          unit: 'short',
          width: 4,
          thresholds: [
            [null, 'green'],
            [1000, 'orange'],
          ],
          query: 'sum(max by (node) (warder_hook_rosters_due{job=~"$job",node=~"$node"})) or vector(0)',
        }),
      ],
    },
    {
      title: 'Proof',
      panels: [
        graph({
          title: 'Age of proof, by worker',
          description:
            'A sawtooth up to a quarter of the bound is healthy. Above the bound (its own line) a worker serves nothing from memory. All at once: NATS. One alone: that worker, or its machine.',
          unit: 's',
          width: 12,
          queries: [
            { expr: 'warder_freshness_age_seconds{job=~"$job"}', legend: '{{instance}}' },
            { expr: 'max(warder_freshness_bound_seconds{job=~"$job"})', legend: 'staleness bound' },
          ],
        }),
        graph({
          title: 'Ticks',
          description:
            'What workers publish to prove freshness, by outcome. Failed ones mean that JetStream did not acknowledge: no leader, no space, or permissions.',
          unit: 'cps',
          width: 12,
          queries: [
            {
              expr: 'sum by (outcome) (rate(warder_freshness_ticks_total{job=~"$job"}[$__rate_interval]))',
              legend: '{{outcome}}',
            },
          ],
        }),
        graph({
          title: 'Remembered, but not served',
          description:
            'Hits that were refused for want of a recent proof, so that the source or a worker was asked instead. In hooks that are seldom asked a few are normal: each question proves them anew.',
          unit: 'cps',
          width: 12,
          queries: [
            {
              expr: 'sum by (instance) (rate(warder_freshness_unproved_total{job=~"$job"}[$__rate_interval]))',
              legend: 'worker {{instance}}',
            },
            {
              expr: 'sum by (node) (rate(warder_hook_near_cache_events_total{job=~"$job",node=~"$node",event="unproved"}[$__rate_interval]))',
              legend: 'hook {{node}}',
            },
          ],
        }),
        graph({
          title: 'Numbers behind the first',
          description:
            'How many changes and ticks each worker and hook has not applied yet, as of the last scrape: some, since they are not asked in the same moment. One that grows steadily hears nothing; 1000 stands for all that is more. Alert: WarderHookDeaf.',
          unit: 'short',
          width: 12,
          queries: [
            {
              expr: 'clamp_max(scalar(max(warder_changes_seen{job=~"$job"})) - warder_changes_seen{job=~"$job"}, 1000)',
              legend: 'worker {{instance}}',
            },
            {
              expr: 'clamp_max(scalar(max(warder_changes_seen{job=~"$job"})) - max by (node) (warder_hook_seen{job=~"$job",node=~"$node"}), 1000)',
              legend: 'hook {{node}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'Changes',
      panels: [
        graph({
          title: 'Changes applied',
          description:
            'Users, rooms, domains and operations that were forgotten, by worker: the lines lie on each other. One below the others misses changes.',
          unit: 'cps',
          width: 12,
          queries: [
            {
              expr: 'sum by (instance) (rate(warder_changes_applied_total{job=~"$job"}[$__rate_interval]))',
              legend: '{{instance}}',
            },
          ],
        }),
        graph({
          title: 'Gaps and clears',
          description:
            'Each drops all that was remembered, so sources are asked more for a while. Clears come from gaps, reconnects and `warder flush all`. Alert: WarderGaps.',
          unit: 'cps',
          width: 12,
          queries: [
            {
              expr: 'sum(rate(warder_changes_gaps_total{job=~"$job"}[$__rate_interval]))',
              legend: 'workers: gaps',
            },
            {
              expr: 'sum(rate(warder_changes_clears_total{job=~"$job"}[$__rate_interval]))',
              legend: 'workers: clears',
            },
            {
              expr: 'sum by (event) (rate(warder_hook_near_cache_events_total{job=~"$job",node=~"$node",event=~"gap|clear"}[$__rate_interval]))',
              legend: 'hooks: {{event}}',
            },
          ],
        }),
        graph({
          title: 'Messages that are not our stream’s',
          description:
            'Somebody publishes where only the broker may, or another stream republishes there. They change nothing; find out who, and take the permission away (deploy/nats).',
          unit: 'cps',
          width: 12,
          thresholds: [
            [null, 'green'],
            [0.000_001, 'red'],
          ],
          queries: [
            {
              expr: 'sum by (instance) (rate(warder_changes_foreign_total{job=~"$job"}[$__rate_interval]))',
              legend: '{{instance}}',
            },
          ],
        }),
        graph({
          title: 'Rosters refreshed',
          description:
            'Users whose rosters were asked for, by reason and outcome: fetched, remembered and stale were answered. Others failed, and the hook keeps the last known one.',
          unit: 'cps',
          width: 12,
          queries: [
            {
              expr: 'sum by (reason, outcome) (rate(warder_rosters_refreshed_total{job=~"$job"}[$__rate_interval])) > 0',
              legend: '{{reason}} {{outcome}}',
            },
          ],
        }),
      ],
    },
  ],
});
