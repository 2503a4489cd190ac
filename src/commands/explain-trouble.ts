/** Why there is no answer, what that means for the XMPP servers, and what to do next. */
import type { FailureKind } from '../failures.ts';
import type { Operation } from '../wire/operation.ts';
import type { Trouble } from './connect-once.ts';
import type { Target } from './target.ts';
import { columns, printable, wrap } from './terminal.ts';
import type { Paint } from './terminal.ts';

interface Explained {
  readonly title: string;
  readonly meaning: string;
  readonly next: string;
}

export function explainTrouble(
  trouble: Trouble,
  target: Target,
  operation: Operation,
  budgetMs: number,
  paint: Paint,
): string {
  const { title, meaning, next } = explained(trouble, target, operation, budgetMs);
  return `${paint('red', 'no answer')}: ${wrap(title, 11)}\n${columns([
    ['meaning', meaning],
    ['next', next],
  ])}`;
}

const start =
  '`npm start` in a checkout starts a broker and a worker to try things with; `warder worker --config FILE` runs a' +
  ' worker. If yours are elsewhere, say where: --nats URL or WARDER_NATS_URL, and --prefix if it is not the usual one';

function explained(trouble: Trouble, { nats, from }: Target, operation: Operation, budgetMs: number): Explained {
  const where = nats.url.join(', ');
  const detail = printable(trouble.detail);
  switch (trouble.trouble) {
    case 'unreachable':
      return {
        title: `no NATS server at ${where} (${detail})`,
        meaning: `nobody was asked; the address is from ${from}`,
        next: start,
      };
    case 'refused':
      return {
        title: `the NATS server at ${where} refuses this (${detail})`,
        meaning: 'nobody was asked: the credentials are missing, wrong, or may not do this',
        next:
          'take those of an administrator (deploy/nats) from a file with --config FILE, or write them into the address:' +
          ' nats://user:password@host:4222',
      };
    case 'no-workers':
      return {
        title: `no worker is running at ${where} with the prefix ${nats.subject_prefix}`,
        meaning: `nobody listens on ${nats.subject_prefix}.${operation}; hooks would use their own fallback now`,
        next: start,
      };
    case 'timeout':
      return {
        title: `a worker took the request and has not answered within ${budgetMs} ms`,
        meaning: `it is stopped, stuck, or cut off from the broker; hooks use their own fallback after their own time${maybeDone(operation)}`,
        next: 'ask again, with a longer --timeout; look at the log and the metrics of the workers',
      };
    case 'bad-reply':
      return {
        title: `what came back is no reply of the protocol: ${detail}`,
        meaning: `something else answers on ${nats.subject_prefix}.${operation}, or a worker of another version`,
        next: 'see who subscribes to the subject, and give --prefix if it is the wrong one',
      };
    case 'failure':
      return {
        title: `the worker answered ${trouble.failure}: ${detail}`,
        ...failureWords(trouble.failure, operation),
      };
  }
}

/** Whoever is told may have done it before the answer was lost. */
function maybeDone(operation: Operation): string {
  const isTold = operation === 'roster-set' || operation === 'roster-subscription';
  return isTold ? '; the application may have been told all the same' : '';
}

function failureWords(kind: FailureKind, operation: Operation): Omit<Explained, 'title'> {
  switch (kind) {
    case 'bad-request':
      return {
        meaning: 'hooks deny what is answered so, whatever their fallback',
        next: 'the log of the workers says at the level debug what is wrong; are command and workers of one version?',
      };
    case 'too-large':
      return {
        meaning: 'question or answer is over what the broker carries; hooks deny what is answered so',
        next: 'hooks leave large stanzas out; leave --stanza out, or ask for fewer users at once',
      };
    case 'expired':
      return {
        meaning: 'the request lay too long before it was read: the worker was stopped or stuck',
        next: 'ask again, with a longer --timeout; see warder_event_loop_stalls_total in the metrics',
      };
    case 'overloaded':
      return {
        meaning: 'too many requests wait for a source; hooks use their own fallback',
        next: 'is a source slow? See warder_source_call_duration_seconds; else start more workers',
      };
    case 'stanza-required':
      return {
        meaning: 'the source decides by content; hooks ask again with the stanza',
        next: 'give the stanza: --stanza FILE',
      };
    case 'source-unavailable':
      return {
        meaning: `the source did not answer, or none is configured for ${operation} of this domain; hooks use their own fallback${maybeDone(operation)}`,
        next: 'the log of the workers names the source and what it did; `warder config check FILE` shows which source answers for whom',
      };
    case 'internal':
      return {
        meaning: 'a mistake in Warder; hooks use their own fallback',
        next: 'the log of the workers has it, as "request failed"; please report it',
      };
  }
}
