/** What every source that calls something can be told about its calls, with the defaults and what each bounds. */
import { z } from 'zod';

const maxTimeoutMs = 60_000;

/** The common options. Times are in milliseconds. */
export const callOptions = {
  timeout_ms: z.number().int().min(1).max(maxTimeoutMs).default(2_000),
  lag_ms: z.number().int().min(0).max(maxTimeoutMs).default(0),
  max_concurrent: z.number().int().min(1).max(10_000).default(32),
  max_queued: z.number().int().min(0).max(100_000).default(512),
  breaker: z
    .strictObject({
      failures: z.number().int().min(1).max(1_000).default(10),
      half_open_after_ms: z.number().int().min(1).max(600_000).default(5_000),
    })
    .prefault({}),
};

export type CallOptions = z.output<z.ZodObject<typeof callOptions>>;

/** How many connections are kept open at most. */
export function connections(standard: number) {
  return z.number().int().min(1).max(1_024).default(standard);
}
