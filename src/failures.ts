/**
 * What cannot be answered: the closed set of failure kinds. A kind is the reply's code, the metric's label and the
 * log's word. A deny is not a failure: it is an answer.
 */

/** Every kind, with the code for `Nats-Service-Error-Code` and the fixed public text. Detail goes to the log only. */
export const failures = {
  'bad-request': { code: 400, text: 'The request is malformed.' },
  'too-large': { code: 413, text: 'The request is too large.' },
  expired: { code: 408, text: 'The budget had passed before the request could be answered.' },
  overloaded: { code: 429, text: 'The worker is at its limit.' },
  'stanza-required': { code: 428, text: 'The decision needs the stanza.' },
  'source-unavailable': { code: 503, text: 'The source of the decision did not answer.' },
  internal: { code: 500, text: 'The worker failed.' },
} as const;

export type FailureKind = keyof typeof failures;

export const failureKinds = Object.keys(failures) as FailureKind[];

/**
 * Thrown anywhere below the request dispatcher, which turns it into a failure reply.
 * `message` is detail for the log and never leaves the worker.
 */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly kind: FailureKind;

  constructor(kind: FailureKind, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.kind = kind;
  }
}

/** The failure that an unknown throwable stands for: itself, or `internal`. */
export function asFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return new Failure('internal', detail, { cause: thrown });
}
