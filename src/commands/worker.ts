/** `warder worker`: one worker until it is told to stop. */
import { loadConfig } from '../config/load.ts';
import { createLog } from '../observe/log.ts';
import { startWorker } from '../worker.ts';
import { untilStopped } from './signals.ts';

/** Resolves to the exit code: 0 after SIGTERM or SIGINT, 1 when the connection to the broker is closed for good. */
export async function runWorker(configFile: string, env: NodeJS.ProcessEnv): Promise<number> {
  const config = loadConfig(configFile, env);
  const log = createLog(config.log.level);
  const worker = await startWorker({ config, log });
  const ending = await Promise.race([untilStopped(), worker.closed.then(() => 'closed' as const)]);
  if (ending === 'closed') {
    log.fatal('the connection to NATS is closed for good');
    return 1;
  }
  log.info({ signal: ending }, 'stopping');
  await worker.stop();
  log.info('stopped');
  return 0;
}
