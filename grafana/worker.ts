/** One worker: its questions, its memory, its event loop, its connection. */
import { createDashboard } from './dashboard.ts';
import { graph, stat } from './panels.ts';

const one = 'job=~"$job",instance="$instance"';

export const worker = createDashboard({
  uid: 'warder-worker',
  title: 'Warder: one worker',
  description: 'One process. Compare it with another by opening both: workers get equal shares of the same questions.',
  variables: ['instance'],
  alerts: ['WarderWorkerDown', 'WarderDisconnected', 'WarderLeftGroup', 'WarderDenied', 'WarderOverloaded'],
  rows: [
    {
      title: 'Is it all right?',
      panels: [
        stat({
          title: 'NATS',
          description: 'Whether its connection stands. Without one it gets no questions. Alert: WarderDisconnected.',
          unit: 'short',
          width: 4,
          thresholds: [
            [null, 'red'],
            [1, 'green'],
          ],
          words: { 0: { text: 'cut off', color: 'red' }, 1: { text: 'connected', color: 'green' } },
          query: `warder_nats_connected{${one}}`,
        }),
        stat({
          title: 'Queue group',
          description:
            'Whether it takes questions: not before it is ready, not when it stops, and not for some seconds when its event loop lags. Alert: WarderLeftGroup.',
          unit: 'short',
          width: 4,
          thresholds: [
            [null, 'red'],
            [1, 'green'],
          ],
          words: { 0: { text: 'left', color: 'red' }, 1: { text: 'member', color: 'green' } },
          query: `warder_queue_group_member{${one}}`,
        }),
        stat({
          title: 'In flight',
          description:
            'Questions that wait for a source, of as many as it takes (`limits.max_in_flight`). At 100 % it turns questions away. Alert: WarderOverloaded.',
          unit: 'percentunit',
          decimals: 0,
          width: 4,
          thresholds: [
            [null, 'green'],
            [0.7, 'orange'],
            [0.9, 'red'],
          ],
          query: `warder_in_flight_requests{${one}} / warder_in_flight_requests_max{${one}}`,
        }),
        stat({
          title: 'Processor',
          description:
            'A worker is one thread: near 100 % start another one, which takes half of the questions of each.',
          unit: 'percentunit',
          decimals: 0,
          width: 4,
          thresholds: [
            [null, 'green'],
            [0.6, 'orange'],
            [0.85, 'red'],
          ],
          query: `rate(process_cpu_seconds_total{${one}}[$__rate_interval])`,
        }),
        stat({
          title: 'Memory',
          description: 'Resident. It follows the entries that it remembers, about half a kilobyte each.',
          unit: 'bytes',
          width: 4,
          query: `process_resident_memory_bytes{${one}}`,
        }),
        stat({
          title: 'Runs since',
          description:
            'A value that is small without an upgrade: it was restarted, and its log or its supervisor says why.',
          unit: 's',
          width: 4,
          query: `time() - process_start_time_seconds{${one}}`,
        }),
      ],
    },
    {
      title: 'Questions',
      panels: [
        graph({
          title: 'Questions',
          description:
            'By operation. Workers get equal shares; one with less has left the group or was cut off for a while.',
          unit: 'reqps',
          width: 12,
          isStacked: true,
          queries: [
            {
              expr: `sum by (operation) (rate(warder_request_duration_seconds_count{${one}}[$__rate_interval]))`,
              legend: '{{operation}}',
            },
          ],
        }),
        graph({
          title: 'p99 of the answers',
          description: 'By operation. When only this worker is slow, it is its machine; when all are, the source.',
          unit: 's',
          width: 12,
          thresholds: [
            [null, 'green'],
            [0.25, 'red'],
          ],
          queries: [
            {
              expr: `histogram_quantile(0.99, sum by (le, operation) (rate(warder_request_duration_seconds_bucket{${one}}[$__rate_interval])))`,
              legend: '{{operation}}',
            },
          ],
        }),
        graph({
          title: 'In flight',
          description:
            'Questions that wait for a source, and lookups under way. Beyond the bound it answers overloaded.',
          unit: 'short',
          width: 12,
          queries: [
            { expr: `warder_in_flight_requests{${one}}`, legend: 'questions' },
            { expr: `warder_in_flight_requests_max{${one}}`, legend: 'questions at most' },
            { expr: `warder_lookups_in_flight{${one}}`, legend: 'lookups: {{cache}}' },
          ],
        }),
        graph({
          title: 'Turned away and failed',
          description:
            'Not begun, because too many wait (overloaded) or the budget had passed (expired); and other failures, by kind, which “overview” explains.',
          unit: 'reqps',
          width: 12,
          queries: [
            {
              expr: `sum by (reason) (rate(warder_requests_shed_total{${one}}[$__rate_interval]))`,
              legend: 'turned away: {{reason}}',
            },
            {
              expr: `sum by (kind) (rate(warder_failures_total{${one},kind!~"overloaded|expired"}[$__rate_interval])) > 0`,
              legend: 'failure: {{kind}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'What it remembers',
      panels: [
        graph({
          title: 'How full it is',
          description:
            'Entries, of as many as it may have (`cache`). At 100 % those that were not asked for the longest make room for others: raise the bound if there is memory for it, half a kilobyte each.',
          unit: 'percentunit',
          max: 1,
          width: 8,
          queries: [{ expr: `warder_cache_entries{${one}} / warder_cache_entries_max{${one}}`, legend: '{{cache}}' }],
        }),
        graph({
          title: 'Hits and misses',
          description: 'Of its own cache, after what the near caches have answered.',
          unit: 'cps',
          width: 8,
          queries: [
            { expr: `rate(warder_cache_requests_total{${one}}[$__rate_interval])`, legend: '{{cache}} {{result}}' },
          ],
        }),
        graph({
          title: 'Evictions',
          description:
            'Entries that made room for others because the cache was full. Zero in a cache that is large enough.',
          unit: 'cps',
          width: 8,
          queries: [{ expr: `rate(warder_cache_evictions_total{${one}}[$__rate_interval])`, legend: '{{cache}}' }],
        }),
      ],
    },
    {
      title: 'Process and connection',
      panels: [
        graph({
          title: 'Event loop: p99 of its lag',
          description:
            'Time that questions wait for the thread. When it stands still for `limits.max_lag_ms` within a second, the worker leaves the queue group for some seconds, if others serve: too little processor, or a pause of the machine.',
          unit: 's',
          width: 8,
          thresholds: [
            [null, 'green'],
            [0.1, 'red'],
          ],
          queries: [{ expr: `nodejs_eventloop_lag_p99_seconds{${one}}`, legend: 'p99' }],
        }),
        graph({
          title: 'Stalls and departures',
          description:
            'Times that the event loop stood still for over 100 ms, and times that it left the queue group for it.',
          unit: 'cps',
          width: 8,
          queries: [
            { expr: `rate(warder_event_loop_stalls_total{${one}}[$__rate_interval])`, legend: 'stalls' },
            { expr: `rate(warder_queue_group_leaves_total{${one}}[$__rate_interval])`, legend: 'left the group' },
          ],
        }),
        graph({
          title: 'Processor, by what for',
          description: 'Share of one core. A worker uses little more than one, for garbage collection.',
          unit: 'percentunit',
          width: 8,
          queries: [
            { expr: `rate(process_cpu_user_seconds_total{${one}}[$__rate_interval])`, legend: 'user' },
            { expr: `rate(process_cpu_system_seconds_total{${one}}[$__rate_interval])`, legend: 'system' },
          ],
        }),
        graph({
          title: 'Heap',
          description:
            'Used and reserved. One that rises for days without more entries is a leak: restart it, and tell us.',
          unit: 'bytes',
          width: 8,
          queries: [
            { expr: `nodejs_heap_size_used_bytes{${one}}`, legend: 'used' },
            { expr: `nodejs_heap_size_total_bytes{${one}}`, legend: 'reserved' },
          ],
        }),
        graph({
          title: 'NATS: reconnects and errors',
          description:
            'After each reconnect everything that was remembered is dropped. Errors are mostly permissions that are missing; its log has the subject. Alert: WarderDenied.',
          unit: 'cps',
          width: 8,
          queries: [
            { expr: `rate(warder_nats_reconnects_total{${one}}[$__rate_interval])`, legend: 'reconnects' },
            { expr: `rate(warder_nats_errors_total{${one}}[$__rate_interval])`, legend: 'errors' },
            {
              expr: `rate(warder_refused_reply_subjects_total{${one}}[$__rate_interval])`,
              legend: 'reply subjects refused',
            },
          ],
        }),
        graph({
          title: 'Who it hears',
          description:
            'Workers and hooks, itself included. Workers that hear different numbers are on different sides of a broken connection between brokers.',
          unit: 'short',
          width: 8,
          queries: [{ expr: `warder_members{${one}}`, legend: '{{kind}}' }],
        }),
      ],
    },
  ],
});
