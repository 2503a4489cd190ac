/** The configuration file's shape: every key with its default, its unit in its name and what would be right. */
import { z } from 'zod';
import { natsUrls, splitCredentials } from './nats-url.ts';
import type { Credentials } from './nats-url.ts';
import { hostName } from './host-name.ts';
import { wholeRoute, wholeRoutes } from './routes.ts';
import { sourceConfig } from './sources.ts';
import type { ConstantName } from './sources.ts';

const second = 1_000;
const minute = 60 * second;

/** NATS refuses white space, wildcards and empty tokens in a subject that is published to. */
export const subjectPrefix = z
  .string()
  .regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/, 'must be tokens of letters, digits, _ and -, separated by dots');

const wantedAddress = 'must be an address and a port, for instance 127.0.0.1:9464';

/** `host:port`, with an IPv6 address in brackets. */
const listenAddress = z
  .string(wantedAddress)
  .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:]+):\d{1,5}$/, wantedAddress)
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'the port must be at most 65535');

const tls = z
  .strictObject({
    ca_file: z.string().min(1).optional(),
    cert_file: z.string().min(1).optional(),
    key_file: z.string().min(1).optional(),
  })
  .refine(({ cert_file, key_file }) => (cert_file === undefined) === (key_file === undefined), {
    message: 'cert_file and key_file go together',
  });

export const decisionFallbacks = ['fail', 'stale', 'allow', 'deny', 'defer'] as const;
export const rosterFallbacks = ['fail', 'stale'] as const;
export const rosterChangeFallbacks = ['fail', 'allow', 'deny', 'defer'] as const;

const ttlMs = z
  .number()
  .int()
  .min(0)
  .max(1_440 * minute);

/** Which source answers for which domain; each route may have what its operation has, for this domain alone. */
function routes<R extends z.ZodType>(route: R) {
  const wanted = 'must be the name of a source, or a map of domains ("*" for all others) to sources';
  return z.preprocess(wholeRoutes, z.record(z.string(), z.preprocess(wholeRoute, route), wanted)).default({});
}

const named = { source: z.string('must be the name of a source') };

const decisions = z
  .strictObject({
    ttl_ms: ttlMs.default(minute),
    fallback: z.enum(decisionFallbacks).default('fail'),
    unproved_ms: ttlMs.default(0),
    sources: routes(
      z.strictObject({ ...named, ttl_ms: ttlMs.optional(), fallback: z.enum(decisionFallbacks).optional() }),
    ),
  })
  .prefault({});

const rosters = z
  .strictObject({
    ttl_ms: ttlMs.default(minute),
    fallback: z.enum(rosterFallbacks).default('fail'),
    sources: routes(
      z.strictObject({ ...named, ttl_ms: ttlMs.optional(), fallback: z.enum(rosterFallbacks).optional() }),
    ),
  })
  .prefault({});

/** Nothing of it is ever remembered. What no route names is refused: the application owns the relationships. */
const rosterChanges = z
  .strictObject({
    fallback: z.enum(rosterChangeFallbacks).default('fail'),
    sources: routes(z.strictObject({ ...named, fallback: z.enum(rosterChangeFallbacks).optional() })).transform(
      (given): typeof given => ({ ...given, '*': given['*'] ?? { source: 'deny' satisfies ConstantName } }),
    ),
  })
  .prefault({});

const notices = z.strictObject({ sources: routes(z.strictObject(named)) }).prefault({});

interface NatsSettings extends Credentials {
  url: string[];
  subject_prefix: string;
  inbox?: string | undefined;
  nkey_file?: string | undefined;
  creds_file?: string | undefined;
  tls?: z.output<typeof tls> | undefined;
}

const nats = z
  .strictObject({
    url: natsUrls.prefault('nats://127.0.0.1:4222'),
    subject_prefix: subjectPrefix.default('xmpp.policy.v1'),
    inbox: z
      .string()
      .regex(/^[A-Za-z0-9_-]+$/, 'must be one token of letters, digits, _ and -; replies arrive under _INBOX.<inbox>')
      .optional(),
    user: z.string().min(1).optional(),
    password: z.string().min(1).optional(),
    token: z.string().min(1).optional(),
    nkey_file: z.string().min(1).optional(),
    creds_file: z.string().min(1).optional(),
    tls: tls.optional(),
  })
  .check((context) => {
    const { user, password, token, nkey_file, creds_file } = context.value;
    const add = (key: string, message: string) =>
      context.issues.push({ code: 'custom', message, path: [key], input: context.value });
    if (user !== undefined && password === undefined) add('user', 'needs a password beside it');
    if (password !== undefined && user === undefined) add('password', 'needs a user beside it');
    const ways = Object.entries({ user, token, nkey_file, creds_file }).filter(([, value]) => value !== undefined);
    for (const [key] of ways.slice(1))
      add(key, `stands beside ${ways[0]?.[0] ?? ''}; one way to authenticate is enough`);
  })
  .transform(({ url, ...rest }): NatsSettings => {
    const { urls, credentials } = splitCredentials(url);
    if (Object.keys(credentials).length === 0) return { ...rest, url: urls };
    const { subject_prefix, inbox, tls: secured } = rest;
    return { subject_prefix, inbox, tls: secured, ...credentials, url: urls };
  })
  .prefault({});

export const configSchema = z.strictObject({
  nats,
  http: z
    .strictObject({
      listen: listenAddress.default('127.0.0.1:9464'),
      push_token: z.string().min(16, 'must have at least 16 characters').optional(),
      tls: z.strictObject({ cert_file: z.string().min(1), key_file: z.string().min(1) }).optional(),
    })
    .prefault({}),
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
      max_lag_ms: z.number().int().min(0).max(minute).default(500),
    })
    .prefault({}),
  cache: z
    .strictObject({
      max_decisions: z.number().int().min(1).max(50_000_000).default(500_000),
      max_rosters: z.number().int().min(1).max(10_000_000).default(10_000),
    })
    .prefault({}),
  roster: z.strictObject({ default_host: hostName.optional() }).prefault({}),
  freshness: z
    .strictObject({
      bound_ms: z
        .number()
        .int()
        .min(200)
        .max(minute)
        .default(2 * second),
      stream_replicas: z.number().int().min(1).max(5).default(1),
    })
    .prefault({}),
  operations: z
    .strictObject({
      'stanza-check': decisions,
      'join-check': decisions,
      'session-check': decisions,
      'roster-refresh': rosters,
      'roster-set': rosterChanges,
      'roster-subscription': rosterChanges,
      'user-removed': notices,
    })
    .prefault({}),
  sources: z.record(z.string(), sourceConfig).default({}),
});

export type Config = z.output<typeof configSchema>;
export type Fallback = (typeof decisionFallbacks)[number];
