/** The worker's HTTP port: metrics for Prometheus, health for whoever restarts or balances. */
import fastify from 'fastify';
import type { Registry } from 'prom-client';
import type { Health } from '../observe/health.ts';

export interface HttpServer {
  /** Where it listens, with the port that it got. */
  readonly url: string;
  stop(): Promise<void>;
}

/** @throws Error that says who may hold the port, when it is taken */
export async function startHttp(listen: string, registry: Registry, health: Health): Promise<HttpServer> {
  const server = fastify({ logger: false });
  server.get('/metrics', async (_request, reply) => {
    await reply.type(registry.contentType).send(await registry.metrics());
  });
  server.get('/healthz', async () => ({ alive: true }));
  server.get('/readyz', async (_request, reply) => {
    const report = health.report();
    await reply.code(report.ready ? 200 : 503).send(report);
  });
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[|\]$/g, '');
  try {
    const url = await server.listen({ host, port: Number(listen.slice(at + 1)) });
    return { url, stop: () => server.close() };
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
