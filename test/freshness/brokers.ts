/** One broker, or three as a cluster whose routes go through proxies, so that one of them can be cut off from the others. */
import { connect } from 'nats';
import { startNatsServer } from '../servers/nats-server.ts';
import type { NatsServer } from '../servers/nats-server.ts';
import { freePort } from '../servers/free-port.ts';
import { Proxy } from './proxy.ts';

export interface Brokers {
  readonly servers: readonly NatsServer[];
  /** Which of them leads the stream; undefined when nobody says so. */
  leader(stream: string): Promise<number | undefined>;
  /** Cuts one off from the others while its clients stay. Returns what ends that. */
  cutOff(index: number): () => void;
  stop(): Promise<void>;
}

export async function startBrokers(count: 1 | 3): Promise<Brokers> {
  if (count === 1) {
    const server = await startNatsServer({ jetstream: true });
    return { servers: [server], leader: async () => 0, cutOff: () => () => undefined, stop: () => server.stop() };
  }
  const indexes = [0, 1, 2];
  const clusterPorts = await Promise.all(indexes.map(() => freePort()));
  const proxies = clusterPorts.map((port) => new Proxy(port));
  const routePorts = await Promise.all(proxies.map((proxy) => proxy.start()));
  const servers = await Promise.all(
    indexes.map((index) =>
      startNatsServer({ jetstream: true, extraConfig: clusterConfig(index, clusterPorts, routePorts) }),
    ),
  );
  const leader = async (stream: string): Promise<number | undefined> => {
    for (const [index, server] of servers.entries()) {
      const nats = await connect({ servers: server.url, timeout: 500, reconnect: false }).catch(() => undefined);
      if (nats === undefined) continue;
      try {
        const manager = await nats.jetstreamManager({ checkAPI: false, timeout: 500 });
        const name = (await manager.streams.info(stream)).cluster?.leader;
        if (name !== undefined) return Number(name.slice(1));
      } catch {
        // This one does not know; the next may.
        void index;
      } finally {
        await nats.close();
      }
    }
    return undefined;
  };
  return {
    servers,
    leader,
    cutOff: (index) => {
      for (const [target, proxy] of proxies.entries()) {
        proxy.refuse((from) => target === index || from === `n${index}`);
      }
      return () => {
        for (const proxy of proxies) proxy.refuse(() => false);
      };
    },
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    },
  };
}

/** Each route says by its user who made it. Advertising the proxy's port keeps the others from going round it. */
function clusterConfig(index: number, clusterPorts: readonly number[], routePorts: readonly number[]): string {
  const routes = routePorts
    .map((port, target) => (target === index ? '' : `    "nats://n${index}:route@127.0.0.1:${port}"\n`))
    .join('');
  return `
server_name: n${index}
cluster {
  name: freshness
  listen: "127.0.0.1:${clusterPorts[index]}"
  advertise: "127.0.0.1:${routePorts[index]}"
  no_advertise: true
  routes = [
${routes}  ]
}
`;
}
