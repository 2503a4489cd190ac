/**
 * What stands around every call of a source, whatever it goes to: places for so many at once, a circuit that opens, one
 * limit of time for all of it, and how it ended. It knows nothing of HTTP or SQL.
 */
import { BrokenCircuitError, CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel';
import type { CallOptions } from '../config/call-options.ts';
import { LatencyHistogram } from '../observe/histogram.ts';
import { CallQueue, NoPlace } from './call-queue.ts';
import { Deadline } from './deadline.ts';
import { SourceUnavailable } from './source.ts';
import type { Call, SourceContext, SourceOutcome } from './source.ts';

export interface Guard {
  /**
   * Does the work once there is a place for it. The work has to end when the deadline has passed; whoever waits for it is
   * told then in any case, and its place is free again.
   * Rejects with `SourceUnavailable`.
   */
  run<T>(work: (deadline: Deadline) => Promise<T>, call: Call): Promise<T>;
}

/**
 * What opens the circuit: the source was asked and could not answer. An answer that cannot be trusted does not, else
 * one bad record in it, asked for again and again, would keep everybody from being answered.
 */
const opensTheCircuit: ReadonlySet<SourceOutcome> = new Set(['timeout', 'unreachable', 'bad-status']);

/** Isolated is what somebody else's hand would do to a circuit; here nobody does. */
const breakerWords = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Open]: 'open',
  [CircuitState.Isolated]: 'open',
} as const;

/**
 * @param target what is called, for messages: without credentials
 * @param asUnavailable what a failure of the work is called; what is no failure of a call, a mistake of ours, stays what it is
 */
export function createGuard(
  target: string,
  options: CallOptions,
  context: SourceContext,
  asUnavailable: (error: unknown) => unknown,
): Guard {
  const { log, clock, observe, expose } = context;
  const places = new CallQueue(options.max_concurrent, options.max_queued, () => clock.now());
  const breaker = circuitBreaker(
    handleWhen((error) => error instanceof SourceUnavailable && opensTheCircuit.has(error.outcome)),
    {
      halfOpenAfter: options.breaker.half_open_after_ms,
      breaker: new ConsecutiveBreaker(options.breaker.failures),
    },
  );
  breaker.onBreak(() => log.warn({ target, retry_after_ms: options.breaker.half_open_after_ms }, 'circuit opened'));
  breaker.onReset(() => log.info({ target }, 'circuit closed'));
  const waited = new LatencyHistogram();
  expose(() => ({
    breaker: breakerWords[breaker.state],
    inFlight: places.inFlight,
    queued: places.queued,
    maxInFlight: places.max,
    waited,
  }));

  async function attempt<T>(work: (deadline: Deadline) => Promise<T>, deadline: Deadline): Promise<T> {
    try {
      return await work(deadline);
    } catch (error) {
      throw deadline.reason ?? asUnavailable(error);
    }
  }

  async function guarded<T>(work: (deadline: Deadline) => Promise<T>, call: Call): Promise<T> {
    // One trial call at a time finds out whether the source is back. Others would wait for it, without any bound.
    if (breaker.state === CircuitState.HalfOpen) throw new BrokenCircuitError();
    let asked = false;
    const calledAtMs = clock.now();
    const deadline = new Deadline(options.timeout_ms, call.signal, () =>
      asked
        ? new SourceUnavailable('timeout', `no answer of ${target} within ${options.timeout_ms} ms`)
        : new SourceUnavailable('bulkhead-full', `no place within ${options.timeout_ms} ms to call ${target}`),
    );
    const waiter = { signal: deadline.signal, untilMs: () => call.waitedForUntilMs?.() ?? Infinity };
    const place = () =>
      places.run(() => {
        asked = true;
        waited.observe((clock.now() - calledAtMs) / 1_000);
        // While a connection is being made, aborting has no effect: the place must not be held until that ends.
        return Promise.race([attempt(work, deadline), deadline.passed]);
      }, waiter);
    try {
      // A trial that is abandoned closes the circuit. The count of failures stays, so the next failure opens it again.
      return await Promise.race([breaker.execute(place), deadline.passed]);
    } finally {
      deadline.release();
    }
  }

  function named(error: unknown): unknown {
    if (error instanceof BrokenCircuitError) {
      return new SourceUnavailable('breaker-open', `${target} has failed too often and is left alone`);
    }
    if (error instanceof NoPlace) return new SourceUnavailable('bulkhead-full', `${target}: ${error.message}`);
    return error;
  }

  return {
    async run(work, call) {
      const startedAtMs = clock.now();
      const observed = (outcome: SourceOutcome | 'ok') => observe(outcome, (clock.now() - startedAtMs) / 1000);
      try {
        const answer = await guarded(work, call);
        observed('ok');
        return answer;
      } catch (error) {
        const unavailable = named(error);
        if (unavailable instanceof SourceUnavailable) observed(unavailable.outcome);
        throw unavailable;
      }
    },
  };
}
