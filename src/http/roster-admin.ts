/**
 * The push side of Prosody's mod_http_roster_admin, unchanged for the applications that call it: `POST
 * /roster_admin/refresh` with a JSON array of user names, or of bare JIDs where a cluster has several hosts.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Push } from './server.ts';
import { refuse } from './push-guard.ts';

/** More than 10,000 JIDs of any usual length. */
const maxBodyBytes = 8 * 1024 * 1024;
/** A bound on what one call may hold in memory. */
const maxUsers = 100_000;

const wanted = 'the body must be a JSON array of user names or bare JIDs: ["alice", "bob@example.org"]';

export function serveRosterAdmin(server: FastifyInstance, push: Push): void {
  server.post('/roster_admin/refresh', { bodyLimit: maxBodyBytes, errorHandler }, async (request, reply) => {
    if (refuse(request, reply, push.token)) return reply;
    const users = usersIn(request.body);
    if (typeof users === 'string') return reply.code(400).send({ status: 'error', message: users });
    if (users.length > maxUsers) {
      const message = `${users.length} users at once; send at most ${maxUsers}, and the others in another call`;
      return reply.code(413).send({ status: 'error', message });
    }
    const refreshed = await push.refresh(users);
    if (refreshed === undefined) {
      return reply.code(503).send({ status: 'error', message: 'the worker is only starting; send it again' });
    }
    const { failed, ...summary } = refreshed;
    return reply.send(refreshed.errors > 0 ? { ...summary, failed } : summary);
  });
}

/** In the words of this path, for a body that is over the limit above all. */
function errorHandler(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode = 500, message } = error;
  reply.code(statusCode).send({ status: 'error', message: statusCode === 500 ? 'the worker failed' : message });
}

/** The users, or what is wrong with the body. */
function usersIn(body: unknown): string[] | string {
  if (typeof body !== 'string' || body.trim() === '') return `the body is empty; ${wanted}`;
  let users: unknown;
  try {
    users = JSON.parse(body);
  } catch (error) {
    return `the body is no JSON (${error instanceof Error ? error.message : String(error)}); ${wanted}`;
  }
  if (!Array.isArray(users)) return `the body is no array; ${wanted}`;
  const wrong = users.findIndex((user) => typeof user !== 'string');
  return wrong === -1 ? (users as string[]) : `number ${wrong + 1} of the array is no string; ${wanted}`;
}
