/** What others have defined and the protocol's document only mentions: answers of JetStream, and the NATS service protocol. */
import { z } from 'zod';
import { endpointData, workerData } from '../wire/service-stats.ts';

/** JetStream's answer to a publication: https://docs.nats.io/reference/reference-protocols/nats_api_reference */
export const acknowledgement = z.object({
  stream: z.string().optional(),
  seq: z.number().int().min(0).optional().meta({ description: 'the number of the change' }),
  duplicate: z.boolean().optional().meta({ description: 'true is a failure: nothing was published' }),
  error: z
    .object({ code: z.number().int(), description: z.string().optional() })
    .optional()
    .meta({ description: 'nothing was published' }),
});

/** ADR-32, what its three answers have in common, and what is ours in them. */
export const serviceReport = z.object({
  type: z.enum(['io.nats.micro.v1.ping_response', 'io.nats.micro.v1.info_response', 'io.nats.micro.v1.stats_response']),
  name: z.literal('warder'),
  id: z.string(),
  version: z.string(),
  metadata: z.record(z.string(), z.string()),
  data: workerData.optional().meta({ description: 'of INFO and STATS' }),
  endpoints: z
    .array(z.object({ name: z.string(), data: endpointData.optional() }))
    .optional()
    .meta({ description: 'of INFO and STATS; `data` of STATS' }),
});
