/**
 * prom-client's metrics of plain numbers that stand elsewhere and are read at the scrape: counting costs nothing but an
 * addition then. It knows no metric by name.
 */
import { Counter, Gauge } from 'prom-client';
import type { Histogram, Registry } from 'prom-client';
import { latencyBoundsSeconds } from './histogram.ts';
import type { LatencyHistogram } from './histogram.ts';

type Setter<L extends string> = (labels: Record<L, string>, value: number) => void;

/** Calls `set` once for each combination of labels. */
type Read<L extends string> = (set: Setter<L>) => void;

export interface PlainMetrics {
  counter<L extends string>(name: string, help: string, labelNames: L[], read: Read<L>): void;
  gauge<L extends string>(name: string, help: string, labelNames: L[], read: Read<L>): void;
  histogram<L extends string>(name: string, help: string, labelNames: L[], read: () => Iterable<Observed<L>>): void;
}

export interface Observed<L extends string> {
  readonly labels: Record<L, string>;
  readonly latency: LatencyHistogram;
}

export function plainMetricsOf(registry: Registry): PlainMetrics {
  return {
    counter(name, help, labelNames, read) {
      const metric = new Counter({
        name,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset();
          read((labels, value) => this.inc(labels, value));
        },
      });
      registry.registerMetric(metric);
    },
    gauge(name, help, labelNames, read) {
      const metric = new Gauge({
        name,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset();
          read((labels, value) => this.set(labels, value));
        },
      });
      registry.registerMetric(metric);
    },
    histogram(name, help, labelNames, read) {
      registry.registerMetric(histogramOf(name, help, labelNames, read) as unknown as Histogram);
    },
  };
}

/** What a registry asks of a metric. */
function histogramOf<L extends string>(
  name: string,
  help: string,
  labelNames: L[],
  read: () => Iterable<Observed<L>>,
): object {
  const described = { name, help, type: 'histogram', aggregator: 'sum' };
  return {
    ...described,
    labelNames,
    reset: () => undefined,
    get: async () => ({
      ...described,
      values: [...read()].flatMap(({ labels, latency }) => {
        let below = 0;
        const buckets = [...latency.counts].map((count, index) => {
          below += count;
          const le = latencyBoundsSeconds[index] ?? '+Inf';
          return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
        });
        return [
          ...buckets,
          { metricName: `${name}_sum`, labels, value: latency.sumSeconds },
          { metricName: `${name}_count`, labels, value: latency.count },
        ];
      }),
    }),
  };
}
