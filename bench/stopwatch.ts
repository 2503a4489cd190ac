/** Time that processes of one machine can compare, and what many measured times come to. */

/** Milliseconds of CLOCK_MONOTONIC, the same for all processes; `performance.now` begins with each process. */
export function machineNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The value below which this part of all values lies, 0 to 1; NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}
