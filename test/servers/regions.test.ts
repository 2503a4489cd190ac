/** Two regions: brokers joined by gateways, a worker in each, one stream. Who is asked where, and what a change reaches. */
import { connect } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { freePorts } from './free-port.ts';
import { startHookAsker } from './hook-asker.ts';
import type { HookAsker } from './hook-asker.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

interface Region {
  readonly broker: NatsServer;
  readonly application: Application;
  readonly worker: WorkerProcess;
  readonly hook: HookAsker;
}

const stops: (() => Promise<unknown>)[] = [];
let home: Region;
let abroad: Region;

beforeAll(async () => {
  const names = ['home', 'abroad'] as const;
  const [homeGateway = 0, abroadGateway = 0, homeRoutes = 0, abroadRoutes = 0] = await freePorts(4);
  const gateways = { home: homeGateway, abroad: abroadGateway };
  const routesOf = { home: homeRoutes, abroad: abroadRoutes };
  const brokers = await Promise.all(
    names.map(async (name) => {
      const routes = routesOf[name];
      // One server is a cluster where it is its own route; JetStream wants one beside a gateway.
      const broker = await startNatsServer({
        jetstream: true,
        extraConfig: `
          server_name: ${name}
          cluster { name: ${name}, listen: "127.0.0.1:${routes}", routes: ["nats://127.0.0.1:${routes}"] }
          gateway { name: ${name}, listen: "127.0.0.1:${gateways[name]}", gateways: [
            ${names.map((other) => `{ name: ${other}, url: "nats://127.0.0.1:${gateways[other]}" }`).join('\n')}
          ] }`,
      });
      stops.push(() => broker.stop());
      return broker;
    }),
  );
  const [homeBroker, abroadBroker] = brokers as [NatsServer, NatsServer];
  home = await startRegion(homeBroker);
  abroad = await startRegion(abroadBroker);
});

afterAll(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function startRegion(broker: NatsServer): Promise<Region> {
  const application = await startApplication();
  stops.push(() => application.stop());
  const config = {
    operations: { 'stanza-check': { sources: 'app' } },
    sources: { app: { type: 'http', url: `${application.url}/` } },
  };
  const worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
  stops.push(() => worker.stop());
  const hook = await startHookAsker(broker.url, { budgetMs: 20_000 });
  stops.push(() => hook.stop());
  return { broker, application, worker, hook };
}

const answers = (verdict: string) => json({ verdict, scope: 'pair', ttl_ms: 3_600_000 });

describe('two regions joined by gateways', () => {
  it('each ask the worker at home', async () => {
    home.application.answer(answers('allow'));
    abroad.application.answer(answers('deny'));
    for (let number = 0; number < 20; number += 1) {
      expect(await home.hook.ask('alice@localhost', `user${number}@localhost`)).toMatchObject({ word: 'allow' });
      expect(await abroad.hook.ask('alice@localhost', `user${number}@localhost`)).toMatchObject({ word: 'deny' });
    }
    expect([home.application.asked, abroad.application.asked]).toEqual([20, 20]);
  });

  it('both forget what changes in either of them, in the order of one stream', async () => {
    const [asked, askedAbroad] = [home.application.asked, abroad.application.asked];
    const nats = await connect({ servers: abroad.broker.url });
    stops.push(() => nats.close());
    const change = JSON.stringify({ v: 1, user: 'user7@localhost', reason: 'test' });
    const { seq } = await nats.jetstream().publish('xmpp.policy.v1.invalidate', change);
    // Both workers have heard of it when each of them names its number.
    const seen = new Set<string>();
    for await (const { data } of nats.subscribe('xmpp.policy.v1.ctl.seen')) {
      const said = JSON.parse(new TextDecoder().decode(data)) as { boot_id: string; kind: string; seen: number };
      if (said.kind === 'worker' && said.seen >= seq) seen.add(said.boot_id);
      if (seen.size === 2) break;
    }
    home.application.answer(answers('deny'));
    abroad.application.answer(answers('allow'));
    expect(await home.hook.ask('alice@localhost', 'user7@localhost')).toMatchObject({ word: 'deny' });
    expect(await abroad.hook.ask('alice@localhost', 'user7@localhost')).toMatchObject({ word: 'allow' });
    expect([home.application.asked, abroad.application.asked]).toEqual([asked + 1, askedAbroad + 1]);
  });

  it('answer for each other when a worker is gone', async () => {
    abroad.worker.signal('SIGTERM');
    await abroad.worker.exited;
    const before = abroad.application.asked;
    for (let number = 100; number < 110; number += 1) {
      expect(await abroad.hook.ask('alice@localhost', `user${number}@localhost`)).toMatchObject({ word: 'deny' });
    }
    expect(abroad.application.asked).toBe(before);
  });
});
