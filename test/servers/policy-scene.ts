/** A broker, a scripted responder and an XMPP server with Warder: what the tests of the hooks begin with. */
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProsody } from './prosody.ts';
import type { Prosody, ProsodyOptions } from './prosody.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';
import type { ServerKind } from './server-kind.ts';
import type { ServerOptions, XmppServer } from './xmpp-server.ts';

export interface SceneOf<Server> {
  readonly broker: NatsServer;
  readonly responder: Responder;
  readonly server: Server;
  stop(): Promise<void>;
}

/** With a Prosody, for what is Prosody's own. */
export interface Scene extends SceneOf<Prosody> {
  readonly prosody: Prosody;
}

export async function startScene(options: Omit<ProsodyOptions, 'natsUrl'> = {}): Promise<Scene> {
  const scene = await compose((natsUrl) => startProsody({ natsUrl, ...options }));
  return { ...scene, prosody: scene.server };
}

/** With a server of any kind, for what all of them share. */
export function startSceneOn(
  kind: ServerKind,
  options: Omit<ServerOptions, 'natsUrl'> = {},
): Promise<SceneOf<XmppServer>> {
  return compose((natsUrl) => kind.start({ natsUrl, ...options }));
}

async function compose<Server extends XmppServer>(
  start: (natsUrl: string) => Promise<Server>,
): Promise<SceneOf<Server>> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).toReversed()) await one();
  };
  try {
    const broker = await startNatsServer();
    stops.push(() => broker.stop());
    const responder = await startResponder(broker.url);
    stops.push(() => responder.stop());
    const server = await start(broker.url);
    stops.push(() => server.stop());
    await server.waitForOutput(/[Cc]onnected to .*127\.0\.0\.1/);
    return { broker, responder, server, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
