/**
 * One HTTP call of a source: its pool of connections, its limits and what each way to fail is called. It knows nothing
 * of questions; what a body means is the caller's, in `read`.
 *
 * A call waits for a place (`max_queued`), then for the answer, both within `timeout_ms`. Redirects are not followed: a
 * policy service that moves has to be configured anew, and the Authorization header goes where it was meant to go.
 */
import { readFile } from 'node:fs/promises';
import {
  BrokenCircuitError,
  BulkheadRejectedError,
  CircuitState,
  ConsecutiveBreaker,
  bulkhead,
  circuitBreaker,
  handleWhen,
} from 'cockatiel';
import { Pool, errors } from 'undici';
import type { HttpOptions } from '../config/http-source.ts';
import { Deadline } from './deadline.ts';
import { SourceUnavailable } from './source.ts';
import type { Call, SourceContext, SourceOutcome } from './source.ts';

/** More than any verdict and any roster of a person. */
export const maxBodyBytes = 1024 * 1024;

/** Of a body that nobody reads: read to its end up to here so that the connection can be used again. */
const maxDiscardedBytes = 16 * 1024;

export interface HttpRequest<T> {
  readonly method: 'GET' | 'POST';
  /** Whole; its origin is the one that the caller was made for. */
  readonly url: string;
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly accept: string;
  /** Never sent twice, where a connection breaks before the answer. */
  readonly once?: boolean;
  /** Statuses outside 2xx that are answers. */
  readonly alsoAnswers?: readonly number[];
  /** Makes the answer of the body; throws `SourceUnavailable` with `bad-answer` when it is none. */
  readonly read: (body: Uint8Array, status: number) => T;
}

export interface HttpCaller {
  /** Rejects with `SourceUnavailable`. */
  call<T>(request: HttpRequest<T>, call: Call): Promise<T>;
  /** Closes all connections; calls under way fail. */
  stop(): Promise<void>;
}

/**
 * What opens the circuit: the source was asked and could not answer. An answer that cannot be trusted does not, else
 * one bad record in it, asked for again and again, would keep everybody from being answered.
 */
const opensTheCircuit: ReadonlySet<SourceOutcome> = new Set(['timeout', 'unreachable', 'bad-status']);

const brokenCodes: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

const noHttp = [errors.HTTPParserError, errors.HeadersOverflowError, errors.ResponseContentLengthMismatchError];

/** W3C Trace Context section 3.2.2. Whatever else an asker has sent there goes nowhere. */
const traceparentForm = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Makes a caller for one origin. @throws when `ca_file` cannot be read. */
export async function createHttpCaller(
  origin: string,
  options: HttpOptions,
  context: SourceContext,
): Promise<HttpCaller> {
  const { log, clock, observe } = context;
  const pool = new Pool(origin, {
    connections: options.connections,
    pipelining: 1,
    // The whole call has one limit, which is exact; the pool's own are coarse.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxResponseSize: maxBodyBytes,
    connect: { timeout: options.timeout_ms, ...(await tlsOptions(options)) },
  });
  const places = bulkhead(options.max_concurrent, options.max_queued);
  const breaker = circuitBreaker(
    handleWhen((error) => error instanceof SourceUnavailable && opensTheCircuit.has(error.outcome)),
    {
      halfOpenAfter: options.breaker.half_open_after_ms,
      breaker: new ConsecutiveBreaker(options.breaker.failures),
    },
  );
  breaker.onBreak(() => log.warn({ origin, retry_after_ms: options.breaker.half_open_after_ms }, 'circuit opened'));
  breaker.onReset(() => log.info({ origin }, 'circuit closed'));

  async function exchange<T>(request: HttpRequest<T>, call: Call, deadline: Deadline): Promise<T> {
    const { signal } = deadline;
    const path = request.url.slice(origin.length);
    try {
      const send = () =>
        pool.request({
          method: request.method,
          path: path.startsWith('/') ? path : `/${path}`,
          headers: headersOf(request, call, options),
          body: request.json === undefined ? null : JSON.stringify(request.json),
          signal,
        });
      const response = await send().catch((error: unknown) => {
        if (request.once === true || !isBroken(error)) throw error;
        return send();
      });
      const status = response.statusCode;
      if ((status < 200 || status > 299) && request.alsoAnswers?.includes(status) !== true) {
        await response.body.dump({ limit: maxDiscardedBytes, signal }).catch(() => undefined);
        throw new SourceUnavailable('bad-status', `status ${status} of ${origin}`);
      }
      return request.read(await response.body.bytes(), status);
    } catch (error) {
      throw deadline.reason ?? asUnavailable(error, origin);
    }
  }

  async function guarded<T>(request: HttpRequest<T>, call: Call): Promise<T> {
    // One trial call at a time finds out whether the source is back. Others would wait for it, without any bound.
    if (breaker.state === CircuitState.HalfOpen) throw new BrokenCircuitError();
    let asked = false;
    const deadline = new Deadline(options.timeout_ms, call.signal, () =>
      asked
        ? new SourceUnavailable('timeout', `no answer of ${origin} within ${options.timeout_ms} ms`)
        : new SourceUnavailable('bulkhead-full', `no place within ${options.timeout_ms} ms to call ${origin}`),
    );
    const work = () =>
      places.execute(() => {
        asked = true;
        // While a connection is being made, aborting has no effect: the place must not be held until that ends.
        return Promise.race([exchange(request, call, deadline), deadline.passed]);
      }, deadline.signal);
    try {
      // A trial that is abandoned closes the circuit. The count of failures stays, so the next failure opens it again.
      return await Promise.race([breaker.execute(work), deadline.passed]);
    } finally {
      deadline.release();
    }
  }

  return {
    async call(request, call) {
      const startedAtMs = clock.now();
      const observed = (outcome: SourceOutcome | 'ok') => observe(outcome, (clock.now() - startedAtMs) / 1000);
      try {
        const answer = await guarded(request, call);
        observed('ok');
        return answer;
      } catch (error) {
        const unavailable = asUnavailable(error, origin);
        if (unavailable instanceof SourceUnavailable) observed(unavailable.outcome);
        throw unavailable;
      }
    },
    stop: () => pool.destroy(),
  };
}

async function tlsOptions({ insecure, ca_file }: HttpOptions): Promise<{ rejectUnauthorized: boolean; ca?: Buffer }> {
  return { rejectUnauthorized: !insecure, ...(ca_file === undefined ? {} : { ca: await readFile(ca_file) }) };
}

function headersOf(request: HttpRequest<unknown>, { traceparent }: Call, options: HttpOptions): Record<string, string> {
  const headers: Record<string, string> = { 'user-agent': 'warder', accept: request.accept, ...options.headers };
  if (options.authorization_header !== undefined) headers['authorization'] = options.authorization_header;
  if (request.json !== undefined) headers['content-type'] = 'application/json';
  if (traceparent !== undefined && traceparentForm.test(traceparent)) headers['traceparent'] = traceparent;
  return headers;
}

/**
 * Whether the connection broke before the answer began, as one that was kept open does when the service restarts or
 * has closed it at just that moment. Then the question is put once more (RFC 9110 section 9.2.2).
 */
function isBroken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && brokenCodes.has(String(error.code));
}

/** What a failed call is called. What is no failure of a call, a mistake of ours, stays what it is. */
function asUnavailable(error: unknown, origin: string): unknown {
  if (error instanceof SourceUnavailable) return error;
  if (error instanceof BrokenCircuitError) {
    return new SourceUnavailable('breaker-open', `${origin} has failed too often and is left alone`);
  }
  if (error instanceof BulkheadRejectedError) {
    return new SourceUnavailable('bulkhead-full', `too many calls to ${origin} are waiting`);
  }
  if (error instanceof errors.ResponseExceededMaxSizeError) {
    return new SourceUnavailable('bad-answer', `more than ${maxBodyBytes} bytes of ${origin}`);
  }
  if (noHttp.some((kind) => error instanceof kind)) {
    return new SourceUnavailable('bad-answer', `what ${origin} answers is no HTTP: ${String(error)}`, { cause: error });
  }
  if (error instanceof Error && 'code' in error && error.code !== 'UND_ERR_INVALID_ARG') {
    return new SourceUnavailable('unreachable', `${origin}: ${error.message || String(error.code)}`, { cause: error });
  }
  return error;
}
