/**
 * One call of a source to PostgreSQL: a connection of a pool, lent for as long as the call takes. It knows nothing of
 * rosters; what rows mean is the caller's.
 */
import { Pool } from 'pg';
import type { PoolClient, QueryResult } from 'pg';
import type { RosterSqlConfig } from '../config/sql-source.ts';
import type { Deadline } from './deadline.ts';
import { createGuard } from './guard.ts';
import type { Call, SourceContext } from './source.ts';
import { isConnectionLost, sqlConnections, sqlUnavailable } from './sql-connection.ts';
import { withTraceComment } from './traceparent.ts';

/** Sends one statement. Rejects with pg's own error, so that the caller can take one for an answer. */
export type Query = (statement: string, values: readonly unknown[]) => Promise<QueryResult<Record<string, unknown>>>;

export interface SqlCaller {
  /**
   * Does the work on one connection, and once more on another when that one breaks, as all do when the database
   * restarts. Rejects with `SourceUnavailable`.
   */
  read<T>(work: (query: Query) => Promise<T>, call: Call): Promise<T>;
  /** The same for work that changes something: never done twice. */
  write<T>(work: (query: Query) => Promise<T>, call: Call): Promise<T>;
  /** Closes all connections; calls under way fail. */
  stop(): Promise<void>;
}

const idleTimeoutMs = 60_000;

class ConnectionLost extends Error {}

export function createSqlCaller(url: string, config: RosterSqlConfig, context: SourceContext): SqlCaller {
  const { target, options, destroy } = sqlConnections(url, config.timeout_ms);
  const pool = new Pool({ ...options, max: config.connections, idleTimeoutMillis: idleTimeoutMs });
  // An idle connection that breaks is no failure of anybody's call, and without a listener it would end the process.
  pool.on('error', (error) => context.log.debug({ target, detail: error.message }, 'idle connection lost'));
  pool.on('connect', (client) => client.on('error', () => undefined));
  // Who waits for a connection waits in one queue, which is bounded, and not in the pool's.
  const max_concurrent = Math.min(config.max_concurrent, config.connections);
  const guard = createGuard(target, { ...config, max_concurrent }, context, (error) => sqlUnavailable(error, target));

  async function connect(deadline: Deadline): Promise<PoolClient> {
    const connecting = pool.connect();
    try {
      return await Promise.race([connecting, deadline.passed]);
    } catch (error) {
      // It may come about all the same, and is then for somebody else.
      connecting.then((client) => client.release()).catch(() => undefined);
      throw error;
    }
  }

  async function lend<T>(work: (query: Query) => Promise<T>, deadline: Deadline): Promise<T> {
    const client = await connect(deadline);
    let isUsable = false;
    let isLost = false;
    const query: Query = async (statement, values) => {
      try {
        return await client.query<Record<string, unknown>>(statement, [...values]);
      } catch (error) {
        isLost = isConnectionLost(error);
        throw error;
      }
    };
    try {
      const result = await Promise.race([work(query), deadline.passed]);
      isUsable = true;
      return result;
    } catch (error) {
      // Where nobody waits any longer the statement still runs, and what comes of it must not be taken for another's.
      isUsable = !isLost && deadline.reason === undefined;
      if (isLost && deadline.reason === undefined) throw new ConnectionLost(target, { cause: error });
      throw error;
    } finally {
      client.release(!isUsable);
    }
  }

  async function exchange<T>(work: (query: Query) => Promise<T>, deadline: Deadline, tries: number): Promise<T> {
    try {
      return await lend(work, deadline);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      if (tries > 1) return exchange(work, deadline, tries - 1);
      throw error.cause;
    }
  }

  return {
    read: (work, call) => guard.run((deadline) => exchange(traced(work, call), deadline, 2), call),
    write: (work, call) => guard.run((deadline) => exchange(traced(work, call), deadline, 1), call),
    async stop() {
      if (pool.ending) return;
      const ended = pool.end();
      destroy();
      await ended;
    },
  };
}

function traced<T>(work: (query: Query) => Promise<T>, { traceparent }: Call): (query: Query) => Promise<T> {
  return (query) => work((statement, values) => query(withTraceComment(statement, traceparent), values));
}
