/**
 * Tells systemd how the worker is, where systemd has started it as a service of `Type=notify` (sd_notify(3)): ready,
 * stopping, and alive again and again, so that a worker that is stuck is ended and started anew. Node has no datagram
 * sockets of the kind that this goes to, so systemd's own command says it.
 */
import { spawn } from 'node:child_process';
import type { Logger } from 'pino';

export interface ServiceManager {
  /** The worker answers questions from now on. */
  ready(): void;
  /** It has been told to end. */
  stopping(): void;
}

const command = 'systemd-notify';

/**
 * @param environment NOTIFY_SOCKET and WATCHDOG_USEC are systemd's; without the first nobody is told
 */
export function serviceManagerOf(environment: NodeJS.ProcessEnv, log: Logger): ServiceManager {
  if ((environment['NOTIFY_SOCKET'] ?? '') === '') return { ready: () => undefined, stopping: () => undefined };
  const tell = (...words: string[]): void => {
    const child = spawn(command, ['--no-block', ...words], { stdio: 'ignore' });
    child.once('error', (error) => log.warn({ detail: error.message }, 'systemd was not told how the worker is'));
  };
  let alive: NodeJS.Timeout | undefined;
  return {
    ready: () => {
      tell('--ready');
      const watchdogMs = Number(environment['WATCHDOG_USEC'] ?? 0) / 1_000;
      // Three times in its patience: one that is late costs nothing.
      if (watchdogMs > 0) alive = setInterval(() => tell('WATCHDOG=1'), watchdogMs / 3);
      alive?.unref();
    },
    stopping: () => {
      clearInterval(alive);
      tell('STOPPING=1');
    },
  };
}
