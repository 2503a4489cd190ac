/** W3C trace context, as askers send it and sources are told it. */

/** W3C Trace Context section 3.2.2. */
const form = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** What may be passed on: whatever else an asker has sent there goes nowhere. */
export function validTraceparent(text: string | undefined): string | undefined {
  return text !== undefined && form.test(text) ? text : undefined;
}

/** A statement that says in the log of the database which trace it belongs to (https://google.github.io/sqlcommenter/spec). */
export function withTraceComment(statement: string, traceparent: string | undefined): string {
  const valid = validTraceparent(traceparent);
  // On a line of its own, since the statement may end with a comment.
  return valid === undefined ? statement : `${statement}\n/*traceparent='${valid}'*/`;
}
