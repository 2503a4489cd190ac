/**
 * What clients get when the application has failed and the worker has been told what to say then: everywhere the hook's
 * own fallback is another, so that what is seen is the worker's. And what they get when nobody says anything.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { json, startApplication } from '../application.ts';
import type { Application } from '../application.ts';
import { builtMain } from '../built.ts';
import { run } from '../cli.ts';
import { startNatsServer } from '../nats-server.ts';
import type { NatsServer } from '../nats-server.ts';
import type { ServerKind } from '../server-kind.ts';
import { startWorkerProcess } from '../worker.ts';
import type { WorkerProcess } from '../worker.ts';
import { enterRoom, errorOf, hasBody, joinOf, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

const fallbacks = ['allow', 'deny', 'defer', 'stale'] as const;
const opposite = { allow: 'deny', deny: 'allow', defer: 'allow', stale: 'deny' };
/** Where the worker always answers, and the hook's own fallback is as by default but for messages. */
const plain = ['open.test', 'closed.test'] as const;

const forbidden = { type: 'auth', condition: 'forbidden' };
const notAllowed = { type: 'cancel', condition: 'not-allowed' };
const tryAgain = { type: 'wait', condition: 'resource-constraint' };

export function degradeAsTold(kind: ServerKind): void {
  let broker: NatsServer;
  let application: Application;
  const workers: WorkerProcess[] = [];
  let startWorker: () => Promise<unknown>;
  let server: XmppServer;
  /** Who everybody writes to, and who may always log in. */
  let bob: TestClient;

  beforeAll(async () => {
    [broker, application] = await Promise.all([startNatsServer({ jetstream: true }), startApplication()]);
    // What is allowed is remembered for a second: with `stale` it is the last known for longer.
    const route = (fallback: string) => ({ source: 'app', ttl_ms: 1_000, fallback });
    const sources = Object.fromEntries(
      [
        ...fallbacks.map((one) => [`${one}.test`, one] as const),
        ...plain.map((one) => [one, 'allow'] as const),
      ].flatMap(([host, fallback]) => [host, `rooms.${host}`].map((domain) => [domain, route(fallback)])),
    );
    const config = {
      sources: { app: { type: 'http', url: `${application.url}/`, breaker: { failures: 1_000 } } },
      operations: {
        'stanza-check': { sources },
        'join-check': { sources },
        'session-check': { sources },
        'roster-refresh': { sources: { 'stale.test': route('stale') } },
      },
    };
    startWorker = async () => void workers.push(await startWorkerProcess(broker.url, JSON.stringify(config))); // JSON is YAML
    // One alone knows what it last knew.
    await startWorker();
    const checks = ['stanza-check', 'join-check', 'session-check'] as const;
    const everything = (word: string) => Object.fromEntries(checks.map((check) => [check, word]));
    const told = fallbacks.map((one) => ({
      host: `${one}.test`,
      rooms: true,
      policy: { checks, roster: one === 'stale', fallback: everything(opposite[one]) },
    }));
    const quick = { 'stanza-check': 250, 'join-check': 250, 'session-check': 250 };
    const untold = plain.map((host) => ({
      host,
      rooms: true,
      policy: {
        checks,
        timeoutsMs: quick,
        nearCache: false,
        fallback: host === 'open.test' ? {} : everything('deny'),
      },
    }));
    const slow = { 'stanza-check': 10_000, 'join-check': 10_000, 'session-check': 10_000 };
    server = await kind.start({
      natsUrl: broker.url,
      policy: { checks: [], timeoutsMs: slow },
      furtherHosts: [...told, ...untold],
    });
    await server.waitForOutput(/Connected to NATS/);
    bob = await server.connect('bob');
  });

  afterAll(async () => {
    await server?.stop();
    for (const worker of workers) await worker.stop();
    await application?.stop();
    await broker?.stop();
  });

  beforeEach(works);
  afterEach(() => void (bob.inbox.length = 0));

  function works(): void {
    application.answer((_request, response, body) => {
      const { operation } = JSON.parse(body) as { operation: string };
      const roster = { items: [{ jid: bob.bare }] };
      json(operation === 'roster-refresh' ? roster : { verdict: 'allow', scope: 'pair' })(_request, response);
    });
  }

  function fails(): void {
    application.answer((_request, response) => response.writeHead(500).end());
  }

  async function sendAndGetError(client: TestClient, stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await client.send(stanza);
    return errorOf(await client.reply(stanza.attrs['id'] ?? ''));
  }

  describe('a worker whose source has failed', () => {
    it('allows where it is told to', async () => {
      fails();
      const alice = await server.connect('alice', { domain: 'allow.test' });
      await alice.send(message(bob.bare, 'hello'));
      await bob.take('the message', hasBody('hello'));
      await enterRoom(alice, 'den@rooms.allow.test', 'alice');
      await alice.stop();
    });

    it.each([
      { fallback: 'deny', stanza: notAllowed, join: forbidden, session: notAllowed },
      { fallback: 'defer', stanza: tryAgain, join: tryAgain, session: tryAgain },
    ])('says $fallback where it is told to', async ({ fallback, stanza, join, session }) => {
      const domain = `${fallback}.test`;
      const alice = await server.connect('alice', { domain });
      fails();
      expect(await sendAndGetError(alice, message(bob.bare, 'hello'))).toMatchObject(stanza);
      expect(await sendAndGetError(alice, joinOf(`den@rooms.${domain}`, 'alice'))).toMatchObject(join);
      await expect(server.connect('dora', { domain })).rejects.toMatchObject(kind.refusal(session));
      await alice.stop();
    });

    it('asks it again for each message, for what it says is no decision to be remembered', async () => {
      fails();
      const alice = await server.connect('alice', { domain: 'allow.test' });
      const before = application.asked;
      for (const body of ['one', 'two', 'three']) {
        await alice.send(message(bob.bare, body));
        await bob.take('the message', hasBody(body));
      }
      expect(application.asked - before).toBe(3);
      await alice.stop();
    });

    it('says what it last knew where it is told to, but not what somebody has said is over', async () => {
      const alice = await server.connect('alice', { domain: 'stale.test', presence: false });
      const roster = xml('query', { xmlns: 'jabber:iq:roster' });
      const contacts = async (client: TestClient): Promise<(string | undefined)[]> =>
        ((await client.ask('get', roster)).getChild('query')?.getChildren('item') ?? []).map(
          ({ attrs }) => attrs['jid'],
        );
      expect(await contacts(alice)).toEqual([bob.bare]);
      await alice.send(message(bob.bare, 'known'));
      await bob.take('the message', hasBody('known'));
      fails();
      // All arrive: the first ones by what is remembered, the last one although the application was asked in vain.
      for (const before = application.asked; application.asked === before;) {
        await alice.send(message(bob.bare, 'still known'));
        await bob.take('the message', hasBody('still known'));
      }
      expect(await sendAndGetError(alice, message('carol@localhost', 'never known'))).toMatchObject(notAllowed);

      const flushed = await run(process.execPath, [await builtMain(), 'flush', 'user', alice.bare, '--wait'], {
        cwd: import.meta.dirname,
        env: { WARDER_NATS_URL: broker.url },
      });
      expect(flushed).toMatchObject({ code: 0 });
      expect(await sendAndGetError(alice, message(bob.bare, 'not known any more'))).toMatchObject(notAllowed);
      await alice.stop();
    });
  });

  describe('while nobody answers', () => {
    beforeAll(() => startWorker());

    const halts: [string, () => Promise<unknown>, () => void][] = [
      [
        'every worker stands still',
        () => Promise.all(workers.map((worker) => worker.pause())),
        () => workers.forEach((worker) => void worker.signal('SIGCONT')),
      ],
      ['the broker stands still', () => broker.pause(), () => broker.resume()],
    ];

    it.each(halts)(
      'since %s, messages flow as the fallback says, and rooms and sessions go by theirs',
      async (_what, halt, go) => {
        const alice = await server.connect('alice', { domain: 'open.test' });
        const carol = await server.connect('carol', { domain: 'closed.test' });
        await halt();
        for (const body of ['one', 'two', 'three', 'four', 'five']) {
          await alice.send(message(bob.bare, body));
          await bob.take('the message', hasBody(body));
        }
        expect(await sendAndGetError(carol, message(bob.bare, 'hello'))).toMatchObject(notAllowed);
        expect(await sendAndGetError(alice, joinOf('den@rooms.open.test', 'alice'))).toMatchObject(forbidden);
        await (await server.connect('dora', { domain: 'open.test' })).stop();
        await expect(server.connect('dora', { domain: 'closed.test' })).rejects.toMatchObject(kind.refusal(notAllowed));

        go();
        while ((await sendAndSee(carol)) !== undefined);
        await enterRoom(alice, 'den@rooms.open.test', 'alice');
        await Promise.all([alice.stop(), carol.stop()]);
      },
    );

    /** @returns what the sender was told, or undefined when it arrived */
    async function sendAndSee(client: TestClient): Promise<Element | undefined> {
      const stanza = message(bob.bare, 'again');
      await client.send(stanza);
      await client.settle();
      const { id } = stanza.attrs;
      return client.inbox.find(({ attrs }) => attrs['type'] === 'error' && attrs['id'] === id);
    }
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(server.output()).not.toMatch(kind.crashed);
  });
}
