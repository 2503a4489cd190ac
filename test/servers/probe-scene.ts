/** What the tests of the hook's NATS client begin with: one Prosody for all, and what each test starts and has closed. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { NatsProbe, ProbeClient } from './nats-probe.ts';
import { startNatsProbe, startProbeClient } from './nats-probe.ts';
import type { NatsServer, NatsServerOptions } from './nats-server.ts';
import { startNatsServer } from './nats-server.ts';

export interface ProbeScene {
  startServer(options?: NatsServerOptions): Promise<NatsServer>;
  /** Begins to connect. */
  startClient(servers: string | string[], more?: Readonly<Record<string, unknown>>): Promise<ProbeClient>;
  /** After the test, before what was started earlier. */
  closeAfterwards(step: () => Promise<unknown>): void;
}

/** To be called in a `describe`. */
export function useProbe(): ProbeScene {
  let probe: NatsProbe | undefined;
  const closing: (() => Promise<unknown>)[] = [];
  const closeAfterwards = (step: () => Promise<unknown>): void => void closing.push(step);

  beforeAll(async () => {
    probe = await startNatsProbe();
  });
  afterAll(() => probe?.stop());
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  return {
    startServer: async (options) => {
      const server = await startNatsServer(options);
      closeAfterwards(() => server.stop());
      return server;
    },
    startClient: (servers, more) => {
      if (probe === undefined) throw new Error('there is no probe before the first test');
      return startProbeClient(probe, closeAfterwards, servers, more);
    },
    closeAfterwards,
  };
}
