/**
 * How a connection to PostgreSQL is made, and what its errors are called. The address that stands in messages has no
 * credentials in it.
 */
import { Socket } from 'node:net';
import { DatabaseError } from 'pg';
import type { ClientConfig } from 'pg';
import { SourceUnavailable } from './source.ts';
import type { SourceOutcome } from './source.ts';

/** What is needed for one connection or many, all of which can be cut off at once. */
export interface SqlConnections {
  /** `db.example.org:5432/chat`, for messages. */
  readonly target: string;
  readonly options: ClientConfig;
  /** Closes them whatever the server does: one that stands still says no goodbye. */
  destroy(): void;
}

/** @param timeoutMs for making a connection, and for each statement at the server */
export function sqlConnections(url: string, timeoutMs: number): SqlConnections {
  const { host, pathname } = new URL(url);
  const sockets = new Set<Socket>();
  const stream = () => {
    const socket = new Socket();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  return {
    target: `${host}${pathname}`,
    options: {
      connectionString: url,
      stream,
      connectionTimeoutMillis: timeoutMs,
      statement_timeout: timeoutMs,
      keepAlive: true,
      fallback_application_name: 'warder',
    },
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * What the server says when it is not there for anybody: PostgreSQL's appendix A, by class. Connections, authorisation,
 * databases that are none, resources, shutdown, its system.
 */
const unreachable = /^(08|28|3D|53|57P|58)/;

const statementTimeout = '57014';

/** Whether the connection can be used for something else after this. */
export function isConnectionLost(error: unknown): boolean {
  return !(error instanceof DatabaseError) || error.severity === 'FATAL' || error.severity === 'PANIC';
}

/** A failure of pg as one of a source. */
export function sqlUnavailable(error: unknown, target: string): SourceUnavailable {
  if (error instanceof SourceUnavailable) return error;
  return new SourceUnavailable(outcomeOf(error), `${target}: ${wordsOf(error)}`, { cause: error });
}

function outcomeOf(error: unknown): SourceOutcome {
  const { code = '' } = error instanceof DatabaseError ? error : {};
  if (code === statementTimeout) return 'timeout';
  // A statement that fails, fails for what it was asked about: others may well be answered.
  return code === '' || isConnectionLost(error) || unreachable.test(code) ? 'unreachable' : 'bad-answer';
}

function wordsOf(error: unknown): string {
  if (error instanceof DatabaseError) return `${error.message} (SQLSTATE ${error.code ?? 'unknown'})`;
  // A host with several addresses fails with as many errors, in one that has no message.
  if (error instanceof AggregateError) return error.errors.map(wordsOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
