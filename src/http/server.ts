/**
 * The worker's HTTP port: metrics for Prometheus, health for whoever restarts or balances, and the push paths of the
 * originals for applications that say what has changed.
 */
import { Server as HttpsServer } from 'node:https';
import fastify from 'fastify';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Change } from '../changes.ts';
import type { PushedRefresh } from '../checks/pushed-refresh.ts';
import type { Health } from '../observe/health.ts';
import { followCertificate, readCertificate } from './certificate.ts';
import type { CertificateFiles } from './certificate.ts';
import { serveModMsgFilter } from './mod-msg-filter.ts';
import { serveRosterAdmin } from './roster-admin.ts';

export interface HttpServer {
  /** Where it listens, with the port that it got. */
  readonly url: string;
  stop(): Promise<void>;
}

/** What the push paths need. */
export interface Push {
  /** The bearer token; undefined: only this machine itself may push. */
  readonly token: string | undefined;
  /** How long a change may take to be acknowledged by the stream. */
  readonly timeoutMs: number;
  /** Resolves to the change's number. */
  readonly publish: (change: Change, reason: string, signal: AbortSignal) => Promise<number>;
  /** Refreshes the rosters of users, by name or bare JID. Undefined as long as the worker cannot. */
  readonly refresh: (users: readonly string[]) => Promise<PushedRefresh | undefined>;
}

export interface HttpOptions {
  readonly listen: string;
  /** Undefined: plain HTTP. */
  readonly tls?: CertificateFiles | undefined;
  readonly log: Logger;
  readonly registry: Registry;
  readonly health: Health;
  readonly push: Push;
}

/** @throws Error that says who may hold the port, when it is taken; or what is wrong with the certificate */
export async function startHttp({ listen, tls, log, registry, health, push }: HttpOptions): Promise<HttpServer> {
  const certificate = tls === undefined ? undefined : await readCertificate(tls);
  const server: FastifyInstance =
    certificate === undefined ? fastify() : fastify({ https: { ...certificate, minVersion: 'TLSv1.2' } });
  server.get('/metrics', async (_request, reply) => {
    await reply.type(registry.contentType).send(await registry.metrics());
  });
  server.get('/healthz', async () => ({ alive: true }));
  server.get('/readyz', async (_request, reply) => {
    const report = await health.report();
    await reply.code(report.ready ? 200 : 503).send(report);
  });
  // Applications send XML and JSON under whatever content type; each path reads its own body.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  serveModMsgFilter(server, push);
  serveRosterAdmin(server, push);
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[|\]$/g, '');
  try {
    const url = await server.listen({ host, port: Number(listen.slice(at + 1)) });
    const following =
      tls === undefined || certificate === undefined || !(server.server instanceof HttpsServer)
        ? undefined
        : await followCertificate(server.server, tls, certificate, log);
    return {
      url,
      stop: async () => {
        await following?.stop();
        await server.close();
      },
    };
  } catch (error) {
    await server.close();
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new Error(
        `${listen} is taken, perhaps by another worker: set http.listen or WARDER_HTTP_LISTEN (port 0 takes any free one)`,
        { cause: error },
      );
    }
    throw error;
  }
}
