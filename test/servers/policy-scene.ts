/** A broker, a scripted responder and a Prosody with Warder: what the tests of the Prosody hooks begin with. */
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProsody } from './prosody.ts';
import type { Prosody, ProsodyOptions } from './prosody.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';

export interface Scene {
  readonly broker: NatsServer;
  readonly responder: Responder;
  readonly prosody: Prosody;
  stop(): Promise<void>;
}

export async function startScene(options: Omit<ProsodyOptions, 'natsUrl'> = {}): Promise<Scene> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const broker = await startNatsServer();
    stops.push(() => broker.stop());
    const responder = await startResponder(broker.url);
    stops.push(() => responder.stop());
    const prosody = await startProsody({ natsUrl: broker.url, ...options });
    stops.push(() => prosody.stop());
    await prosody.waitForOutput(/[Cc]onnected to .*127\.0\.0\.1/);
    return { broker, responder, prosody, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
