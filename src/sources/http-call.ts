/**
 * One HTTP call of a source: its pool of connections, its limits and what each way to fail is called. It knows nothing
 * of questions; what a body means is the caller's, in `read`.
 *
 * A call waits for a place (`max_queued`), then for the answer, both within `timeout_ms`. Redirects are not followed: a
 * policy service that moves has to be configured anew, and the Authorization header goes where it was meant to go.
 */
import { readFile } from 'node:fs/promises';
import { Pool, errors } from 'undici';
import type { HttpOptions } from '../config/http-source.ts';
import type { Deadline } from './deadline.ts';
import { createGuard } from './guard.ts';
import { SourceUnavailable } from './source.ts';
import type { Call, SourceContext } from './source.ts';
import { validTraceparent } from './traceparent.ts';

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

const brokenCodes: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

const noHttp = [errors.HTTPParserError, errors.HeadersOverflowError, errors.ResponseContentLengthMismatchError];

/** Makes a caller for one origin. @throws when `ca_file` cannot be read. */
export async function createHttpCaller(
  origin: string,
  options: HttpOptions,
  context: SourceContext,
): Promise<HttpCaller> {
  const pool = new Pool(origin, {
    connections: options.connections,
    pipelining: 1,
    // The whole call has one limit, which is exact; the pool's own are coarse.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxResponseSize: maxBodyBytes,
    connect: { timeout: options.timeout_ms, ...(await tlsOptions(options)) },
  });
  const guard = createGuard(origin, options, context, (error) => asUnavailable(error, origin));

  async function exchange<T>(request: HttpRequest<T>, call: Call, { signal }: Deadline): Promise<T> {
    const path = request.url.slice(origin.length);
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
  }

  return {
    call: (request, call) => guard.run((deadline) => exchange(request, call, deadline), call),
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
  const trace = validTraceparent(traceparent);
  if (trace !== undefined) headers['traceparent'] = trace;
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
