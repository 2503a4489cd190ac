/** The subjects of protocol v1 under the configured prefix. JIDs go in payloads, never here. */
import type { Operation } from '../wire/operation.ts';

/** All workers together are one group: each request is answered by one of them. */
export const queueGroup = 'warder';

export function requestSubject(prefix: string, operation: Operation): string {
  return `${prefix}.${operation}`;
}

/**
 * Whether a reply may go to this subject. A worker's credentials must not become a way to publish anywhere else, for
 * instance into the stream of invalidations: the broker does not check what an asker names as its reply subject.
 */
export function isInbox(subject: string | undefined): subject is string {
  return subject !== undefined && subject.startsWith('_INBOX.');
}
