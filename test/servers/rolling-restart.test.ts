/** Three workers replaced one after the other under load: what it costs those who ask. */
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { json, startApplication } from './application.ts';
import { startHookAsker } from './hook-asker.ts';
import type { Outcome } from './hook-asker.ts';
import { startNatsServer } from './nats-server.ts';
import { startProsody } from './prosody.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';
import { message } from './xmpp-client.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

/** A broker, an application that is asked each time and takes a moment, and three workers. */
async function startCluster() {
  const broker = await startNatsServer({ jetstream: true });
  stops.push(() => broker.stop());
  const application = await startApplication();
  stops.push(() => application.stop());
  application.answer((request, response) => setTimeout(() => json({ verdict: 'allow' })(request, response), 5));
  const config = {
    operations: { 'stanza-check': { sources: 'app' } },
    // A busy machine takes its time.
    sources: { app: { type: 'http', url: `${application.url}/`, timeout_ms: 60_000 } },
  };
  const start = async (): Promise<WorkerProcess> => {
    const worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
    stops.push(() => worker.stop());
    return worker;
  };
  const workers = [await start(), await start(), await start()];
  return { broker, application, workers, start };
}

/** As deploy/ does it: the new one is ready before the old one is told to stop. */
async function replaceAll(workers: readonly WorkerProcess[], start: () => Promise<WorkerProcess>): Promise<void> {
  for (const old of workers) {
    const fresh = await start();
    expect((await fetch(`${fresh.url}/readyz`)).status).toBe(200);
    old.signal('SIGTERM');
    expect(await old.exited).toEqual({ code: 0, signal: null });
  }
}

describe('three workers replaced one after the other under load', () => {
  it('leave no question unanswered and none undecided', async () => {
    const { broker, workers, start } = await startCluster();
    // One that was lost would be asked again after ten seconds by a hook; here it has to show.
    const asker = await startHookAsker(broker.url, { budgetMs: 20_000, doesHedge: false });
    stops.push(() => asker.stop());
    const outcomes: Outcome[] = [];
    const over = new AbortController();
    const askOn = async (name: number) => {
      while (!over.signal.aborted)
        outcomes.push(await asker.ask(`user${name}@localhost`, `user${outcomes.length}@localhost`));
    };
    const asking = Promise.all(Array.from({ length: 32 }, (_, name) => askOn(name)));
    await replaceAll(workers, start);
    over.abort();
    await asking;

    const undecided = outcomes.filter(({ word, isDegraded }) => word !== 'allow' || isDegraded);
    const words = undecided.map(({ word }) => word);
    process.stdout.write(
      `${outcomes.length} questions while three workers were replaced: ${undecided.length} not decided\n`,
    );
    expect(words).toEqual([]);
    expect(outcomes.length).toBeGreaterThan(32);
  });

  it('lose and delay no message of a real Prosody to its fallback', async () => {
    const { broker, workers, start } = await startCluster();
    const prosody = await startProsody({
      natsUrl: broker.url,
      policy: {
        checks: ['stanza-check'],
        // What is not decided is gone, and would be missed below.
        fallback: { 'stanza-check': 'drop' },
        timeoutsMs: { 'stanza-check': 20_000 },
        nearCache: false,
      },
    });
    stops.push(() => prosody.stop());
    await prosody.waitForOutput(/Connected to NATS/);
    const alice = await prosody.connect('alice');
    const bob = await prosody.connect('bob');
    let sent = 0;
    const over = new AbortController();
    const talk = async () => {
      while (!over.signal.aborted) {
        for (let burst = 0; burst < 8; burst += 1) await alice.send(message(bob.jid, `message ${(sent += 1)}`));
        await bob.take('the last of them', (stanza) => stanza.getChildText('body') === `message ${sent}`);
        await turn();
      }
    };
    const talking = talk();
    await replaceAll(workers, start);
    over.abort();
    await talking;

    const stats = await prosody.shell('warder:stats()');
    const arrived = bob.inbox.filter(({ name }) => name === 'message').length + Math.ceil(sent / 8);
    process.stdout.write(`${sent} messages while three workers were replaced: ${arrived} arrived\n`);
    expect(arrived).toBe(sent);
    expect(stats).toContain(`answers: allow ${sent};`);
    expect(stats).toContain('failures: none; fallbacks: none');
  });
});
