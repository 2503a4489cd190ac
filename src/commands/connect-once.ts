/** One connection for one command: a person waits, and hears at once why there is none. */
import { connect, ErrorCode, NatsError } from 'nats';
import type { NatsConnection } from 'nats';
import type { Config } from '../config/schema.ts';
import type { FailureKind } from '../failures.ts';
import { connectionOptions } from '../nats/connection.ts';

/** Why there is no answer. `detail` is for people. */
export type Trouble =
  | { trouble: 'unreachable' | 'refused' | 'no-workers' | 'timeout' | 'bad-reply'; detail: string }
  | { trouble: 'failure'; failure: FailureKind; detail: string };

const connectTimeoutMs = 3_000;

/** Codes of the broker's refusals. */
export const refusals: readonly string[] = [
  ErrorCode.AuthorizationViolation,
  ErrorCode.AuthenticationExpired,
  ErrorCode.PermissionsViolation,
];

const plainWords: Readonly<Record<string, string>> = {
  [ErrorCode.Timeout]: `no answer within ${connectTimeoutMs / 1_000} s`,
  [ErrorCode.ConnectionRefused]: 'connection refused',
};

export async function connectOnce(nats: Config['nats']): Promise<NatsConnection | Trouble> {
  try {
    const options = connectionOptions(nats, 'warder-cli');
    return await connect({ ...options, reconnect: false, timeout: connectTimeoutMs });
  } catch (error) {
    return troubleOfConnecting(error);
  }
}

function troubleOfConnecting(error: unknown): Trouble {
  const detail = error instanceof Error ? error.message : String(error);
  if (!(error instanceof NatsError)) return { trouble: 'unreachable', detail };
  if (refusals.includes(error.code)) return { trouble: 'refused', detail };
  return { trouble: 'unreachable', detail: plainWords[error.code] ?? error.chainedError?.message ?? detail };
}
