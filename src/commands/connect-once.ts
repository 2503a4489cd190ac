/** One connection for one command: a person waits, and hears at once why there is none. */
import { connect, ErrorCode, Events, NatsError } from 'nats';
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

/**
 * @param stays for commands that go on and on: once made, it is made again whenever it is lost
 * @param role whose inbox the replies arrive under
 */
export async function connectOnce(
  nats: Config['nats'],
  stays = false,
  role = 'warder-cli',
): Promise<NatsConnection | Trouble> {
  try {
    const options = connectionOptions(nats, role);
    return await connect({ ...options, reconnect: stays, timeout: connectTimeoutMs });
  } catch (error) {
    return troubleOfConnecting(error);
  }
}

/** What the broker does not let these credentials do; undefined for another error. */
export function refusalOf(error: unknown): Trouble | undefined {
  if (!(error instanceof NatsError) || !refusals.includes(error.code)) return undefined;
  return { trouble: 'refused', detail: error.message };
}

/** What becomes of a connection, in words for people. */
export interface ConnectionNews {
  /** The broker refuses something: it says so here, and to who has asked it seems only to be unanswered. */
  refused?(detail: string): void;
  away?(): void;
  back?(): void;
}

/** Passes on the news until the connection is closed. */
export async function followConnection(nats: NatsConnection, news: ConnectionNews): Promise<void> {
  for await (const { type, data, permissionContext: denied } of nats.status()) {
    if (type === Events.Disconnect) news.away?.();
    else if (type === Events.Reconnect) news.back?.();
    else if (type === Events.Error) {
      news.refused?.(
        denied === undefined ? JSON.stringify(data) : `no permission: ${denied.operation} to ${denied.subject}`,
      );
    }
  }
}

function troubleOfConnecting(error: unknown): Trouble {
  const detail = error instanceof Error ? error.message : String(error);
  if (!(error instanceof NatsError)) return { trouble: 'unreachable', detail };
  if (refusals.includes(error.code)) return { trouble: 'refused', detail };
  return { trouble: 'unreachable', detail: plainWords[error.code] ?? error.chainedError?.message ?? detail };
}
