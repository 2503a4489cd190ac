/** A real PostgreSQL with the table and the triggers that docs/sources.md gives to operators, word for word. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PostgresServer, startPostgresServer } from './postgres-server.ts';

const docs = readFileSync(join(import.meta.dirname, '../../docs/sources.md'), 'utf8');

/** What stands there as SQL: the table, then its triggers. */
export const documentedSql = [...docs.matchAll(/```sql\n([^]*?)```/g)].map(([, sql = '']) => sql);

/** As in the documentation, too. */
export const contactsQuery = 'SELECT jid, name, subscription, groups FROM contacts WHERE owner = $1';

export async function startRosterDatabase(): Promise<PostgresServer> {
  const postgres = await startPostgresServer();
  for (const sql of documentedSql) await postgres.psql(sql);
  return postgres;
}
