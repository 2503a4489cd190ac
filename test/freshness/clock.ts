/** Microseconds of CLOCK_MONOTONIC: the same clock for every process of this machine, the askers included. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
