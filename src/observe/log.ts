/** One line of JSON an event, on standard error; standard output belongs to what a command was asked to print. */
import { pino } from 'pino';
import type { Logger } from 'pino';

export function createLog(level: string): Logger {
  return pino({ level, base: {}, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
}
