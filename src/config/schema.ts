/** The configuration file's shape: every key with its default, its unit in its name and what would be right. */
import { z } from 'zod';
import { sourceConfig } from './sources.ts';

const second = 1_000;
const minute = 60 * second;

/** NATS refuses white space, wildcards and empty tokens in a subject that is published to. */
const subjectPrefix = z
  .string()
  .regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/, 'must be tokens of letters, digits, _ and -, separated by dots');

/** `host:port`, with an IPv6 address in brackets. */
const listenAddress = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:]+):\d{1,5}$/, 'must be an address and a port, for instance 127.0.0.1:9464')
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'the port must be at most 65535');

const natsUrl = z.string().regex(/^((nats|tls):\/\/)?[^\s/]+$/, 'must be a URL such as nats://127.0.0.1:4222');

const tls = z.strictObject({
  ca_file: z.string().optional(),
  cert_file: z.string().optional(),
  key_file: z.string().optional(),
});

export const decisionFallbacks = ['fail', 'stale', 'allow', 'deny', 'defer'] as const;
export const rosterFallbacks = ['fail', 'stale'] as const;

/** One route of an operation: a source, and what this domain wants otherwise than the operation. */
function route<F extends readonly [string, ...string[]]>(fallbacks: F) {
  const whole = z.strictObject({
    source: z.string(),
    ttl_ms: z
      .number()
      .int()
      .min(0)
      .max(1_440 * minute)
      .optional(),
    fallback: z.enum(fallbacks).optional(),
  });
  return z.union([z.string().transform((source) => ({ source })), whole], {
    error: 'must be the name of a source, or a map of source, ttl_ms and fallback',
  });
}

function operation<F extends readonly [string, ...string[]]>(fallbacks: F, fallback: F[number]) {
  const routes = z.union(
    [route(fallbacks).transform((one) => ({ '*': one })), z.record(z.string(), route(fallbacks))],
    {
      error: 'must be the name of a source, or a map of domains ("*" for all others) to sources',
    },
  );
  return z
    .strictObject({
      ttl_ms: z
        .number()
        .int()
        .min(0)
        .max(1_440 * minute)
        .default(minute),
      fallback: z.enum(fallbacks).default(fallback as never),
      sources: routes.default({}),
    })
    .prefault({});
}

export const configSchema = z.strictObject({
  nats: z
    .strictObject({
      url: z
        .union([natsUrl.transform((url) => [url]), z.array(natsUrl).min(1)], {
          error: 'must be a URL such as nats://127.0.0.1:4222, or a list of them',
        })
        .prefault('nats://127.0.0.1:4222'),
      subject_prefix: subjectPrefix.default('xmpp.policy.v1'),
      user: z.string().optional(),
      password: z.string().optional(),
      token: z.string().optional(),
      creds_file: z.string().optional(),
      tls: tls.optional(),
    })
    .prefault({}),
  http: z.strictObject({ listen: listenAddress.default('127.0.0.1:9464') }).prefault({}),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info') })
    .prefault({}),
  limits: z
    .strictObject({
      max_in_flight: z.number().int().min(1).max(1_000_000).default(4_096),
      drain_timeout_ms: z
        .number()
        .int()
        .min(0)
        .max(10 * minute)
        .default(10 * second),
    })
    .prefault({}),
  cache: z
    .strictObject({
      max_decisions: z.number().int().min(1).max(50_000_000).default(500_000),
      max_rosters: z.number().int().min(1).max(10_000_000).default(10_000),
    })
    .prefault({}),
  operations: z
    .strictObject({
      'stanza-check': operation(decisionFallbacks, 'fail'),
      'join-check': operation(decisionFallbacks, 'fail'),
      'session-check': operation(decisionFallbacks, 'fail'),
      'roster-refresh': operation(rosterFallbacks, 'fail'),
      'user-removed': z
        .strictObject({ sources: operation(rosterFallbacks, 'fail').unwrap().shape.sources })
        .prefault({}),
    })
    .prefault({}),
  sources: z.record(z.string(), sourceConfig).default({}),
});

export type Config = z.output<typeof configSchema>;
export type Fallback = (typeof decisionFallbacks)[number];
