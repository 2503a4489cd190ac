/**
 * `warder doctor` at the sources of a configuration: whether each can be reached. Nothing is asked that an application could
 * notice: connections are made and closed, files are read, a database is asked whether it is a replica.
 */
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { HttpOptions } from '../config/http-source.ts';
import type { Config } from '../config/schema.ts';
import type { RosterSqlConfig } from '../config/sql-source.ts';
import type { SourceConfig } from '../config/sources.ts';
import { originOf } from '../config/uri-template.ts';
import { sqlConnections, sqlUnavailable } from '../sources/sql-connection.ts';
import { parsePolicy } from '../sources/static-schema.ts';
import { operationNames } from '../wire/operation.ts';
import { isLoopback } from './doctor-connection.ts';
import { durationWords } from './explain-decision.ts';
import { Findings } from './findings.ts';

const leastTimeoutMs = 1_000;
const dayMs = 86_400_000;
const expiryWarnDays = 14;

export async function examineConfig(config: Config, findings: Findings): Promise<void> {
  const unanswered = operationNames.filter(
    (operation) => operation !== 'user-removed' && Object.keys(config.operations[operation].sources).length === 0,
  );
  if (unanswered.length > 0)
    findings.note('operations', `no source answers ${unanswered.join(', ')}: hooks use their fallbacks`);
  const { listen, push_token } = config.http;
  if (push_token === undefined && !isLoopback(listen))
    findings.note(
      'http',
      `${listen} can be reached from elsewhere, where nobody can push without a token`,
      'set http.push_token, or keep http.listen on 127.0.0.1',
    );
  const examined = await Promise.all(
    Object.entries(config.sources).map(async ([name, source]) => {
      const own = new Findings();
      await examineSource(name, source, own);
      return own.all;
    }),
  );
  findings.all.push(...examined.flat());
}

async function examineSource(name: string, source: SourceConfig, findings: Findings): Promise<void> {
  try {
    if (source.type === 'static') await examineFile(name, source.file, findings);
    else if (source.type === 'roster-sql') await examineDatabases(name, source, findings);
    else await examineOrigin(name, new URL(originOf(source.url)), source, findings);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    findings.fail(
      'source',
      `${name} (${source.type}): ${detail}`,
      'as long as it is so, its operations get their fallbacks',
    );
  }
}

async function examineFile(name: string, file: string, findings: Findings): Promise<void> {
  parsePolicy(await readFile(file, 'utf8'), file);
  findings.ok('source', `${name} (static): ${file} is right`);
}

async function examineOrigin(
  name: string,
  origin: URL,
  source: HttpOptions & { type: string },
  findings: Findings,
): Promise<void> {
  const { address } = await lookup(origin.hostname.replace(/^\[(.*)\]$/, '$1'));
  const began = performance.now();
  const isTls = origin.protocol === 'https:';
  const port = Number(origin.port === '' ? (isTls ? 443 : 80) : origin.port);
  const timeoutMs = Math.max(source.timeout_ms, leastTimeoutMs);
  const socket = await (isTls
    ? opened(
        connectTls({ host: address, port, servername: origin.hostname, ...(await trustOf(source)) }),
        'secureConnect',
        timeoutMs,
      )
    : opened(connectTcp({ host: address, port }), 'connect', timeoutMs));
  const tookMs = performance.now() - began;
  const about = `${name} (${source.type}): ${origin.origin}`;
  const expiresMs = isTls ? Date.parse((socket as TLSSocket).getPeerCertificate().valid_to) : Infinity;
  socket.destroy();
  const days = Math.floor((expiresMs - Date.now()) / dayMs);
  if (source.insecure && isTls)
    findings.warn('source', `${about}: its certificate is not verified`, 'give ca_file in place of insecure: true');
  else if (days < expiryWarnDays) findings.warn('source', `${about}: its certificate ends in ${days} days`, 'renew it');
  else findings.ok('source', `${about} takes connections, in ${durationWords(tookMs)}; nothing was asked`);
}

async function trustOf({ insecure, ca_file }: HttpOptions): Promise<{ rejectUnauthorized: boolean; ca?: Buffer }> {
  return { rejectUnauthorized: !insecure, ...(ca_file === undefined ? {} : { ca: await readFile(ca_file) }) };
}

function opened<S extends Socket>(socket: S, event: 'connect' | 'secureConnect', timeoutMs: number): Promise<S> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => fail(new Error(`no connection within ${durationWords(timeoutMs)}`)));
    socket.once('error', fail);
    socket.once(event, () => resolve(socket));
  });
}

async function examineDatabases(name: string, source: RosterSqlConfig, findings: Findings): Promise<void> {
  const { url, primary_url, lag_ms } = source;
  const reads = await askDatabase(url, source);
  const about = `${name} (roster-sql): ${reads.target}`;
  if (reads.isReplica && lag_ms === 0)
    findings.warn(
      'source',
      `${about} is a replica, and lag_ms is 0: a roster from before a change may be remembered after it`,
      'set lag_ms to what the replica may be behind',
    );
  else findings.ok('source', `${about} answers, in ${durationWords(reads.tookMs)}`);
  const writes = primary_url === undefined ? reads : await askDatabase(primary_url, source);
  if (writes !== reads && !writes.isReplica)
    findings.ok('source', `${name} (roster-sql): ${writes.target} answers, in ${durationWords(writes.tookMs)}`);
  const isWritten = [source.set, source.remove, source.subscription, source.user_removed, source.listen].some(
    (one) => one !== undefined,
  );
  if (writes.isReplica && isWritten)
    findings.fail(
      'source',
      `${name} (roster-sql): ${writes.target} is a replica: nothing can be written to it, nor listened to`,
      'give the primary as primary_url',
    );
}

async function askDatabase(url: string, { timeout_ms }: RosterSqlConfig) {
  const { Client } = (await import('pg')).default;
  const { target, options, destroy } = sqlConnections(url, Math.max(timeout_ms, leastTimeoutMs));
  const client = new Client(options);
  client.on('error', () => undefined);
  const began = performance.now();
  try {
    await client.connect();
    const { rows } = await client.query<{ replica: boolean }>('SELECT pg_is_in_recovery() AS replica');
    return { target, tookMs: performance.now() - began, isReplica: rows[0]?.replica === true };
  } catch (error) {
    throw sqlUnavailable(error, target);
  } finally {
    destroy();
  }
}
