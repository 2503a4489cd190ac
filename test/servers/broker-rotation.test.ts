/** Credentials of the broker in deploy/nats replaced while questions are asked: old and new side by side, then the old gone. */
import { randomBytes, X509Certificate } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import type { NatsConnection } from 'nats';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { startSecuredBroker, subject } from './secured-broker.ts';
import type { SecuredBroker } from './secured-broker.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function startBroker(): Promise<SecuredBroker> {
  const broker = await startSecuredBroker();
  stops.push(() => broker.stop());
  return broker;
}

async function startWorker(broker: SecuredBroker, name: string): Promise<WorkerProcess> {
  const operations = { 'join-check': { sources: 'allow' } };
  const worker = await startWorkerProcess(broker.url, JSON.stringify({ nats: broker.settings(name), operations }));
  stops.push(() => worker.stop());
  return worker;
}

/** Asks without a pause on one connection after another, and keeps what came of it. */
class Load {
  readonly failures: string[] = [];
  answered = 0;
  #connection: NatsConnection;
  readonly #inFlight = new Map<NatsConnection, Set<Promise<void>>>();
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
    this.#running = this.#run();
  }

  /** Asks on another connection from now on; resolves when everything that was asked on the last one is answered. */
  async moveTo(connection: NatsConnection): Promise<void> {
    const last = this.#connection;
    this.#connection = connection;
    await Promise.all(this.#inFlight.get(last) ?? new Set<Promise<void>>());
  }

  async untilMoreAnswers(count: number): Promise<void> {
    const wanted = this.answered + count;
    while (this.answered < wanted && this.failures.length === 0) await delay(1);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    for (const asked of this.#inFlight.values()) await Promise.all(asked);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const asked = this.#inFlight.get(this.#connection) ?? new Set();
      this.#inFlight.set(this.#connection, asked);
      if (asked.size < 32) {
        const one = this.#ask(this.#connection).finally(() => asked.delete(one));
        asked.add(one);
      } else await Promise.race(asked);
    }
  }

  async #ask(nats: NatsConnection): Promise<void> {
    const question = { v: 1, server: 'test', budget_ms: 10_000, user: 'alice@localhost/phone' };
    const id = randomBytes(12).toString('hex');
    try {
      const more = { id, room: 'lobby@rooms.localhost', nick: 'Alice' };
      const reply = await nats.request(subject('join-check'), JSON.stringify({ ...question, ...more }), {
        timeout: 10_000,
      });
      const { verdict, degraded } = reply.json<{ verdict?: string; degraded?: string }>();
      if (verdict === 'allow' && degraded === undefined) this.answered += 1;
      else this.failures.push(reply.string());
    } catch (error) {
      this.failures.push(String(error));
    }
  }
}

describe('credentials are replaced under load', () => {
  it('without a lost question: of a worker and of a hook', async () => {
    const broker = await startBroker();
    const { keys } = broker.site;
    const oldWorker = await startWorker(broker, 'worker');
    const oldHook = await broker.connect('prosody-1');
    const bystander = await broker.connect('ejabberd-1');
    const load = new Load(oldHook);
    const bystanders = new Load(bystander);
    await load.untilMoreAnswers(100);

    const nkeyLine = keys('nkey', 'worker-next');
    // The name is another, since it says which password; the inbox is the one that the hook has.
    const userLine = keys('password', 'prosody-2');
    let oldLines: string[] = [];
    await broker.reload((config) => {
      const ofWorker = /\{ nkey: "U\w+", permissions: \$WORKER_PERMISSIONS \}/.exec(config)?.[0] ?? '';
      const ofHook = /\{\s+user: "prosody-1"[^}]+\}\s+\}/.exec(config)?.[0] ?? '';
      oldLines = [ofWorker, ofHook];
      const added = [`{ ${nkeyLine}, permissions: $WORKER_PERMISSIONS }`, ofHook.replace(/user: .*/, () => userLine)];
      return config.replace(ofWorker, () => [ofWorker, ...added].join('\n'));
    });
    await load.untilMoreAnswers(100);

    const newWorker = await startWorker(broker, 'worker-next');
    await load.untilMoreAnswers(100);
    await oldWorker.stop();
    await load.untilMoreAnswers(100);
    const newHook = await broker.connect('prosody-2', { inboxPrefix: '_INBOX.prosody-1' });
    await load.moveTo(newHook);
    await load.untilMoreAnswers(100);

    await broker.reload((config) => oldLines.reduce((left, line) => left.replace(line, ''), config));
    await load.untilMoreAnswers(100);
    await bystanders.untilMoreAnswers(100);
    await Promise.all([load.stop(), bystanders.stop()]);

    expect([...load.failures, ...bystanders.failures]).toEqual([]);
    expect(load.answered).toBeGreaterThan(600);
    // Whoever had not moved is put out, and does not come back.
    await oldHook.closed();
    await expect(broker.connect('prosody-1')).rejects.toThrow('Authorization Violation');
    await expect(broker.connect('worker')).rejects.toThrow('Authorization Violation');
    // Nobody else was disturbed.
    const metrics = await (await fetch(`${newWorker.url}/metrics`)).text();
    expect(metrics).toMatch(/^warder_nats_reconnects_total 0$/m);
    expect(bystander.isClosed()).toBe(false);
    await Promise.all([newHook.close(), bystander.close()]);
  });

  it('in the file of a worker: the next connection takes the new key, and until it is usable the old one', async () => {
    const broker = await startBroker();
    const { keys, file } = broker.site;
    const worker = await startWorker(broker, 'worker');
    writeFileSync(file('worker.nk'), 'half a ke');
    await broker.server.restart();
    await worker.waitForOutput(/"reconnected to NATS"/);

    const next = keys('nkey', 'worker-next');
    cpSync(file('worker-next.nk'), file('worker.nk'));
    await broker.reload((config) => config.replace(/nkey: "U\w+"(?=, permissions: \$WORKER)/, next));
    await worker.waitForOutput(/"reconnected to NATS"[^]*"reconnected to NATS"/);
    const hook = await broker.connect('prosody-1');
    const load = new Load(hook);
    await load.untilMoreAnswers(10);
    await load.stop();
    expect(load.failures).toEqual([]);
    await hook.close();
  });

  it('as is the certificate of the broker: new connections see it, and those that stand go on', async () => {
    const broker = await startBroker();
    const { keys, file } = broker.site;
    const hook = await broker.connect('prosody-1');
    await startWorker(broker, 'worker');
    const load = new Load(hook);
    keys('certificate', 'renewed', 'localhost', '127.0.0.1');
    for (const ending of ['pem', 'key']) cpSync(file(`renewed.${ending}`), file(`server.${ending}`));
    await broker.reload((config) => config);
    await load.untilMoreAnswers(100);
    await load.stop();
    expect(load.failures).toEqual([]);

    const seen: string[] = [];
    const checkServerIdentity = (_: string, { serialNumber }: { serialNumber: string }) => void seen.push(serialNumber);
    const after = await broker.connect('ejabberd-1', {
      tls: { caFile: file('ca.pem'), checkServerIdentity } as object,
    });
    expect(seen).toEqual([new X509Certificate(readFileSync(file('renewed.pem'))).serialNumber]);
    await Promise.all([after.close(), hook.close()]);
  });
});
