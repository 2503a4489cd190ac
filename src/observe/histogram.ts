/**
 * A histogram in plain numbers. prom-client's own costs 0.26 µs an observation, most of it for labels that are known
 * beforehand here; this one a tenth. `metrics.ts` turns it into the exposition format at the scrape.
 */

/** Upper bounds in seconds, from 100 µs up to more than any budget. */
export const latencyBoundsSeconds = [
  0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
] as const;

export class LatencyHistogram {
  /** One more than bounds: the last is for what is above all of them. Not cumulative. */
  readonly counts = new Float64Array(latencyBoundsSeconds.length + 1);
  sumSeconds = 0;
  count = 0;

  observe(seconds: number): void {
    let bucket = 0;
    while (seconds > (latencyBoundsSeconds[bucket] ?? Infinity)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sumSeconds += seconds;
    this.count += 1;
  }

  /** All that another has observed. */
  add(other: LatencyHistogram): void {
    other.counts.forEach((count, index) => (this.counts[index] = (this.counts[index] ?? 0) + count));
    this.sumSeconds += other.sumSeconds;
    this.count += other.count;
  }
}
