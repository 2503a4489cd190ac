/** The connection to the broker: how it is made, and what its life looks like in the log and the metrics. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, DebugEvents, Events } from 'nats';
import type { ConnectionOptions, NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';
import { loginOptions } from './login.ts';
import { tlsOptions } from './tls.ts';

const reconnectWaitMs = 500;

export interface ConnectionCounts {
  reconnects: number;
  errors: number;
}

export interface Connection {
  readonly nats: NatsConnection;
  readonly counts: ConnectionCounts;
  /** Under which this connection may subscribe to subjects of its own. */
  readonly inboxPrefix: string;
  /** Whether the broker is there right now, as far as the client knows. */
  isConnected(): boolean;
  close(): Promise<void>;
}

/**
 * Connects and stays connected: nats.js by itself gives up after 10 attempts, which is right for a script and wrong for
 * a worker. With `wait` the first connection is tried for ever too, and the log says why it is not there.
 * @throws LoginUnusable; what nats.js throws when the first connection fails and `wait` is not set.
 */
export async function openConnection(
  config: Config['nats'],
  role: string,
  log: Logger,
  wait: boolean,
): Promise<Connection> {
  const counts: ConnectionCounts = { reconnects: 0, errors: 0 };
  let connected = true;
  const { inboxPrefix, ...options } = connectionOptions(config, role);
  const nats = await connectFirst({ ...options, inboxPrefix }, log, wait);
  log.info({ server: nats.getServer(), version: nats.info?.version }, 'connected to NATS');
  const watch = async () => {
    for await (const { type, data, permissionContext } of nats.status()) {
      if (type === Events.Disconnect) {
        connected = false;
        log.warn({ server: data }, 'disconnected from NATS');
      } else if (type === Events.Reconnect) {
        connected = true;
        counts.reconnects += 1;
        log.info({ server: data }, 'reconnected to NATS');
      } else if (type === Events.Error) {
        // A denied permission shows only here: https://docs.nats.io, "Authorization".
        counts.errors += 1;
        log.error({ detail: data, ...permissionContext }, 'NATS refused something');
      } else if (type === DebugEvents.Reconnecting) log.debug({ server: data }, 'reconnecting to NATS');
    }
  };
  void watch();
  return {
    nats,
    counts,
    inboxPrefix,
    isConnected: () => connected && !nats.isClosed(),
    close: () => nats.close(),
  };
}

/** nats.js would wait for its first connection as well, but in silence, even when the credentials are wrong. */
async function connectFirst(options: ConnectionOptions, log: Logger, wait: boolean): Promise<NatsConnection> {
  for (let said = ''; ;) {
    try {
      return await connect(options);
    } catch (error) {
      if (!wait) throw error;
      const detail = error instanceof Error ? error.message : String(error);
      if (detail !== said) log.warn({ servers: options.servers, detail }, 'NATS cannot be reached: trying on');
      said = detail;
      await delay(reconnectWaitMs * (1 + Math.random()));
    }
  }
}

/**
 * What every connection of ours has in common.
 * @throws LoginUnusable
 */
export function connectionOptions(
  config: Config['nats'],
  role: string,
): ConnectionOptions & { readonly inboxPrefix: string } {
  const tls = tlsOptions(config);
  return {
    servers: [...config.url],
    name: role,
    // Inboxes of their own let the broker's permissions keep one role from reading another's replies; a wildcard in
    // them is a whole token.
    inboxPrefix: `_INBOX.${config.inbox ?? role}.${randomBytes(6).toString('hex')}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: reconnectWaitMs,
    reconnectJitter: reconnectWaitMs,
    ignoreAuthErrorAbort: true,
    pingInterval: 5_000,
    ...loginOptions(config),
    ...(tls === undefined ? {} : { tls }),
  };
}
