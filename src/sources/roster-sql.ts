/**
 * Rosters in PostgreSQL, by the operator's own statements: read by a query, changed by statements whose answer is the
 * decision, and announced by the database itself with NOTIFY.
 */
import { DatabaseError } from 'pg';
import type { RosterSqlConfig, SqlChange } from '../config/sql-source.ts';
import type { Decision } from '../wire/replies.ts';
import { Listener } from './roster-sql-listener.ts';
import { News } from './roster-sql-news.ts';
import { decisionFrom, refusalFrom, rosterFrom } from './roster-sql-rows.ts';
import { changeValues, inOrder, ownerValues } from './roster-sql-values.ts';
import type { RosterChange, Source, SourceContext } from './source.ts';
import { createSqlCaller } from './sql-call.ts';
import type { Query } from './sql-call.ts';

/** @throws when a file that a URL names cannot be read. */
export async function createRosterSqlSource(config: RosterSqlConfig, context: SourceContext): Promise<Source> {
  const { url, primary_url, pending, user_removed } = config;
  const reader = createSqlCaller(url, config, context);
  const writer = primary_url === undefined ? reader : createSqlCaller(primary_url, config, context);
  const hearing = config.listen === undefined ? undefined : startHearing(config, config.listen, context);
  return {
    name: context.name,
    type: config.type,
    lagMs: config.lag_ms,
    maxConcurrent: Math.min(config.max_concurrent, config.connections),
    roster(user, call) {
      const values = ownerValues(user);
      return reader.read(async (query) => {
        const contacts = await query(config.query, inOrder(config.parameters, values));
        const requests = pending && (await query(pending.query, inOrder(pending.parameters, values)));
        return rosterFrom(user, contacts, requests);
      }, call);
    },
    rosterChange(change, call) {
      const statement = statementFor(change, config);
      return writer.write((query) => decide(query, statement, change), call);
    },
    ...(user_removed && {
      async userRemoved(user, id, call) {
        const values = { ...ownerValues(user), id };
        await writer.write((query) => query(user_removed.statement, inOrder(user_removed.parameters, values)), call);
      },
    }),
    ...(hearing && { isDeaf: hearing.isDeaf }),
    async stop() {
      await Promise.all([hearing?.stop(), reader.stop(), writer === reader ? undefined : writer.stop()]);
    },
  };
}

function statementFor({ operation, request }: RosterChange, config: RosterSqlConfig): SqlChange {
  const key = operation === 'roster-subscription' ? 'subscription' : request.remove ? 'remove' : 'set';
  const statement = config[key];
  if (statement === undefined) throw new Error(`no statement ${key} is configured`);
  return statement;
}

async function decide(query: Query, { statement, parameters }: SqlChange, change: RosterChange): Promise<Decision> {
  try {
    return decisionFrom(await query(statement, inOrder(parameters, changeValues(change))), change);
  } catch (error) {
    const refusal = error instanceof DatabaseError ? refusalFrom(error.code, error.message) : undefined;
    if (refusal === undefined) throw error;
    return refusal;
  }
}

/** Listens to the database from now on. */
function startHearing(
  { url, primary_url, timeout_ms }: RosterSqlConfig,
  { channel, default_host }: NonNullable<RosterSqlConfig['listen']>,
  context: SourceContext,
): { isDeaf: () => boolean; stop: () => Promise<void> } {
  const { clock, boundMs, defaultHost } = context;
  const news = new News({ channel, defaultHost: default_host ?? defaultHost }, context);
  const listener = new Listener(
    {
      url: primary_url ?? url,
      channel,
      timeoutMs: Math.max(timeout_ms, boundMs),
      boundMs,
      onNotification: (payload) => news.hear(payload),
      onListening: () => news.everybody(`listening to ${channel}`),
    },
    context,
  );
  listener.start();
  return {
    // Compared whenever somebody asks, as a timer does not run in a process that stands still. What was heard and has not
    // been passed on yet counts as not heard.
    isDeaf: () => clock.now() - Math.min(listener.provedAtMs, news.waitingSinceMs ?? Infinity) > boundMs,
    async stop() {
      news.stop();
      await listener.stop();
    },
  };
}
