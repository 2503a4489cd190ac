/**
 * Who may push changes: whoever has the bearer token. Without one configured only this machine may, and only when it
 * speaks for itself: a request that a proxy forwards comes from loopback too.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

const forwardingHeaders = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'];

interface Refusal {
  readonly status: 401 | 403;
  readonly reason: string;
}

/** Answers a request that may not push. @returns whether it did */
export function refuse(request: FastifyRequest, reply: FastifyReply, token: string | undefined): boolean {
  const refusal = refusalOf(request, token);
  if (refusal === undefined) return false;
  if (refusal.status === 401) reply.header('WWW-Authenticate', 'Bearer');
  reply.code(refusal.status).send({ status: 'error', message: refusal.reason });
  return true;
}

/** Undefined when the request may push. */
function refusalOf(request: FastifyRequest, token: string | undefined): Refusal | undefined {
  if (isOwnMachine(request)) return undefined;
  if (token === undefined) {
    return {
      status: 403,
      reason: 'no push token is configured (http.push_token), so only this machine itself may push',
    };
  }
  const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
  if (given === undefined) return { status: 401, reason: 'a bearer token is needed: Authorization: Bearer TOKEN' };
  return isEqual(given, token) ? undefined : { status: 401, reason: 'the bearer token is wrong' };
}

function isOwnMachine(request: FastifyRequest): boolean {
  const address = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  const isLoopback = address === '::1' || address.startsWith('127.');
  return isLoopback && !forwardingHeaders.some((name) => name in request.headers);
}

/** In a time that tells nothing about where they differ. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
