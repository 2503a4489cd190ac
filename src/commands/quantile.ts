/** A quantile of what was counted in buckets. */

/**
 * By Prometheus' histogram_quantile: linear within the bucket; above the highest bound it is that bound.
 * @param buckets cumulative counts by their upper bounds in seconds, `+Inf` among them
 * @returns milliseconds; null where nothing was counted
 */
export function quantileMs(buckets: Readonly<Record<string, number>>, quantile: number): number | null {
  const bounds = Object.entries(buckets)
    .map(([bound, count]) => ({ bound: bound === '+Inf' ? Infinity : Number(bound), count }))
    .toSorted((one, other) => one.bound - other.bound);
  const rank = quantile * (bounds.at(-1)?.count ?? 0);
  if (rank <= 0) return null;
  let below = { bound: 0, count: 0 };
  for (const at of bounds) {
    if (at.count >= rank) {
      if (at.bound === Infinity) return below.bound * 1_000;
      return (below.bound + ((at.bound - below.bound) * (rank - below.count)) / (at.count - below.count)) * 1_000;
    }
    below = at;
  }
  return null;
}
