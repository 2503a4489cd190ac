/** The signals that ask a process to end in good order. */

/** Longer than it takes a parent such as npm to pass on the Ctrl-C that the terminal has sent to everyone already. */
const sameKeyMs = 500;

export interface Signals {
  /** Resolves with the first signal. */
  readonly stopped: Promise<NodeJS.Signals>;
  /** Gives the signals their usual meaning again. */
  release(): void;
}

/**
 * Listens to the signals until released. A second one, which is not an echo of the first, means that the end takes too
 * long: the process then ends by it at once.
 */
export function listenForSignals(signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT']): Signals {
  let firstAtMs: number | undefined;
  let resolve: (signal: NodeJS.Signals) => void;
  const stopped = new Promise<NodeJS.Signals>((settle) => {
    resolve = settle;
  });
  const release = () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstAtMs === undefined) {
      firstAtMs = performance.now();
      resolve(signal);
    } else if (performance.now() - firstAtMs > sameKeyMs) {
      release();
      process.kill(process.pid, signal);
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
  return { stopped, release };
}
