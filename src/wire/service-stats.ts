/**
 * What a worker adds to its answers to `$SRV.INFO` and `$SRV.STATS`, in the fields `data` that ADR-32 leaves to the service:
 * counts since its start, and how it stands.
 */
import { z } from 'zod';
import { optional, wholeNumber } from './fields.ts';

const counts = z.record(z.string(), wholeNumber);

/** Of one operation; `data` of an endpoint in `$SRV.STATS`. */
export const endpointData = z.object({
  verdicts: counts.meta({ description: 'real decisions, by verdict' }),
  degraded: counts.meta({ description: 'fallbacks, and what was not proved fresh, by verdict' }),
  failures: counts.meta({ description: 'requests that were answered with a failure, by its kind' }),
  remembered: wholeNumber.meta({ description: 'answered from memory' }),
  latency_buckets: counts.meta({ description: 'requests that took at most so many seconds, as `le` of Prometheus' }),
});

export type EndpointData = z.output<typeof endpointData>;

/** Of the whole worker; `data` of `$SRV.INFO` and `$SRV.STATS`. */
export const workerData = z.object({
  prefix: z.string().meta({ description: 'what the subjects that it answers begin with' }),
  name: z.string().meta({ description: 'host and process, as in ctl.seen' }),
  seen: wholeNumber.meta({ description: 'the highest sequence applied; 0 where no stream numbers the changes' }),
  in_flight: wholeNumber,
  max_in_flight: wholeNumber,
  freshness: z.object({
    jetstream: z.boolean(),
    age_ms: optional(z.number().min(0)).meta({ description: 'of the last proof; absent: there is none yet' }),
    bound_ms: z.number(),
  }),
  sources: z.array(
    z.object({
      source: z.string(),
      type: z.string(),
      breaker: z.enum(['closed', 'half-open', 'open']),
      in_flight: wholeNumber,
      max_in_flight: wholeNumber,
      queued: wholeNumber,
    }),
  ),
  hooks: z
    .record(
      z.string(),
      z.object({
        decided: wholeNumber.meta({ description: 'by workers' }),
        remembered: wholeNumber.meta({ description: 'by its near cache' }),
        failures: wholeNumber,
        fallbacks: wholeNumber,
      }),
    )
    .meta({
      description: 'what this worker has counted for nodes that are there, at most 500; the sum over workers tells',
    }),
});

export type WorkerData = z.output<typeof workerData>;

/** ADR-32's answer to `$SRV.STATS`, as far as it is read here. */
export const statsReport = z.object({
  id: z.string().max(256),
  version: z.string().max(64),
  started: z.string(),
  endpoints: z.array(
    z.object({
      name: z.string(),
      num_requests: wholeNumber,
      processing_time: z.number(),
      data: optional(endpointData),
    }),
  ),
  data: optional(workerData),
});

export type StatsReport = z.output<typeof statsReport>;
