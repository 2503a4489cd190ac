/**
 * The push side of ejabberd's mod_msg_filter, unchanged for the applications that call it: `POST /mod_msg_filter/` with
 * `<flush jid="user@domain"/>`, also unclosed as its author wrote it.
 */
import type { FastifyInstance } from 'fastify';
import { InvalidJid, parseBareJid } from '../wire/jid.ts';
import type { Jid } from '../wire/jid.ts';
import { MalformedXml } from '../wire/malformed.ts';
import { parseXml } from '../wire/xml.ts';
import type { Push } from './server.ts';
import { refuse } from './push-guard.ts';

/** More than any flush has; a longer body is answered with 413. */
const maxBodyBytes = 16 * 1024;

export function serveModMsgFilter(server: FastifyInstance, push: Push): void {
  server.post('/mod_msg_filter/', { bodyLimit: maxBodyBytes }, async (request, reply) => {
    if (refuse(request, reply, push.token)) return reply;
    let user: Jid;
    try {
      user = flushedUser(typeof request.body === 'string' ? request.body : '');
    } catch (error) {
      if (!(error instanceof MalformedXml || error instanceof InvalidJid)) throw error;
      return reply.code(400).send({ status: 'error', message: error.message });
    }
    const signal = AbortSignal.timeout(push.timeoutMs);
    try {
      const token = await push.publish({ user: user.bare }, 'mod_msg_filter', signal);
      return await reply.send({ status: 'ok', token });
    } catch {
      return reply.code(503).send({ status: 'error', message: 'the change could not be published; send it again' });
    }
  });
}

/** @throws MalformedXml or InvalidJid that says what would be right */
function flushedUser(body: string): Jid {
  const text = body.trim();
  const isUnclosed = /^<flush\s[^<>]*[^<>/]>$/.test(text);
  const flush = parseXml(isUnclosed ? `${text}</flush>` : text);
  const jid: unknown = flush.attrs['jid'];
  if (flush.name !== 'flush' || typeof jid !== 'string') {
    throw new MalformedXml('the body must be <flush jid="user@domain"/>');
  }
  return parseBareJid(jid);
}
