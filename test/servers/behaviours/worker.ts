/** The whole way: clients of a real server, its hooks, a real broker, two real workers and the operator's HTTP services. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { answer, breakOff, HttpService, keepSilent } from '../../sources/http-service.ts';
import type { Behaviour, Seen } from '../../sources/http-service.ts';
import { freePort } from '../free-port.ts';
import { startNatsServer } from '../nats-server.ts';
import type { NatsServer } from '../nats-server.ts';
import type { RosterKind } from '../roster-kind.ts';
import { startWorkerProcess } from '../worker.ts';
import type { WorkerProcess } from '../worker.ts';
import { enterRoom, errorOf, hasBody, joinOf, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function goTheWholeWay(kind: RosterKind): void {
  let broker: NatsServer;
  let service: HttpService;
  let workers: WorkerProcess[];
  let server: XmppServer;
  /** Where the fallbacks are the defaults: messages and sessions pass, joins do not. */
  let alice: TestClient;
  let bob: TestClient;
  /** Where they are the opposite. */
  let carol: TestClient;
  /** A port at which nobody listens: the service that is gone. */
  let nobody: number;

  /** A worker whose sources remember nothing, so that every question reaches the service, below a path that names the worker. */
  function startWorker(worker: number): Promise<WorkerProcess> {
    const { url } = service;
    const source = { timeout_ms: 1_500, breaker: { failures: 1_000 } };
    const gone = Object.fromEntries(
      ['gone.test', 'gone-strict.test', 'gone-session.test']
        .flatMap((name) => [name, `rooms.${name}`])
        .map((name) => [name, 'gone']),
    );
    const through = (name: string, filter = {}): object => ({ ttl_ms: 0, sources: { '*': name, ...filter } });
    const config = {
      sources: {
        app: { type: 'http', url: `${url}/app/${worker}`, ...source },
        filter: { type: 'msg-filter-http', url: `${url}/filter{?from,to}`, ...source },
        rooms: { type: 'muc-auth-http', url: `${url}/rooms`, show_error: true, ...source },
        gone: { type: 'http', url: `http://127.0.0.1:${nobody}/`, ...source },
        contacts: { type: 'roster-http', url: `${url}/contacts/%s`, ...source },
      },
      operations: {
        'stanza-check': through('app', { 'filter.test': 'filter', ...gone }),
        'join-check': through('app', { 'rooms.filter.test': 'rooms', ...gone }),
        'session-check': through('app', gone),
        'roster-refresh': through('app', { 'filter.test': 'contacts', 'gone.test': 'gone' }),
        'user-removed': { sources: 'app' },
      },
    };
    return startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
  }

  beforeAll(async () => {
    [broker, service] = await Promise.all([startNatsServer({ jetstream: true }), HttpService.start()]);
    service.behave = allowAll;
    nobody = await freePort();
    workers = await Promise.all([0, 1].map(startWorker));
    const budgetMs = 5_000;
    const strict = { 'stanza-check': 'deny', 'session-check': 'deny', 'join-check': 'allow' } as const;
    server = await kind.start({
      natsUrl: broker.url,
      policy: {
        // Longer than the source's timeout, so that it is the worker that gives up.
        timeoutsMs: { 'stanza-check': budgetMs, 'join-check': budgetMs, 'session-check': budgetMs },
        notify: true,
        roster: true,
      },
      furtherHosts: [
        { host: 'strict.test', rooms: true, policy: { roster: false, fallback: strict } },
        { host: 'filter.test', rooms: true },
        { host: 'gone.test', rooms: true, policy: { roster: false } },
        { host: 'gone-session.test', policy: { roster: false, fallback: strict } },
        {
          host: 'gone-strict.test',
          rooms: true,
          policy: { roster: false, checks: ['stanza-check', 'join-check'], fallback: strict },
        },
      ],
    });
    [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    carol = await server.connect('carol', { domain: 'strict.test' });
  });

  afterAll(async () => {
    await server?.stop();
    for (const worker of workers ?? []) await worker.stop();
    await service?.stop();
    await broker?.stop();
  });

  beforeEach(() => {
    service.behave = allowAll;
    service.seen.length = 0;
  });

  afterEach(() => {
    for (const client of [alice, bob, carol]) client.inbox.length = 0;
  });

  const json = (fields: object): Behaviour =>
    answer(200, JSON.stringify(fields), { 'content-type': 'application/json' });

  /** What the service was asked, of the operation that it was asked about. */
  function questionOf(seen: Seen): { operation?: string; stanza?: string } & Record<string, unknown> {
    return seen.body === '' ? {} : (JSON.parse(seen.body) as Record<string, unknown>);
  }

  const allowAll: Behaviour = (response, seen) =>
    json(questionOf(seen).operation === 'roster-refresh' ? { items: [] } : { verdict: 'allow' })(response, seen);

  function behave(operation: string, behaviour: Behaviour): void {
    service.behave = (response, seen) =>
      (questionOf(seen).operation === operation ? behaviour : allowAll)(response, seen);
  }

  async function sendAndGetError(client: TestClient, stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await client.send(stanza);
    const reply = await client.reply(stanza.attrs['id'] ?? '');
    expect(reply.attrs).toMatchObject({ type: 'error', from: stanza.attrs['to'], to: client.jid });
    return errorOf(reply);
  }

  const rosterQuery = xml('query', { xmlns: 'jabber:iq:roster' });

  async function contacts(client: TestClient): Promise<(string | undefined)[]> {
    const result = await client.ask('get', rosterQuery);
    // An error is no empty roster.
    expect(result.attrs['type']).toBe('result');
    return (result.getChild('query')?.getChildren('item') ?? []).map((item) => item.attrs['jid']);
  }

  const newRoom = (domain = 'localhost'): string => `${randomUUID()}@rooms.${domain}`;
  const error = { type: 'auth', condition: 'registration-required', text: 'Only <members> & friends' };

  describe("stanza-check through the operator's service", () => {
    it('allow: the message arrives, and the service was asked about it', async () => {
      await alice.send(message(bob.bare, 'hello'));

      await bob.take('the message', hasBody('hello'));
      const asked = service.seen.map(questionOf).find(({ operation }) => operation === 'stanza-check');
      expect(asked).toMatchObject({ hook: 'send', from: alice.jid, to: bob.bare, kind: 'message', type: 'chat' });
    });

    it('deny: the client sees condition and text', async () => {
      behave('stanza-check', json({ verdict: 'deny', error }));
      expect(await sendAndGetError(alice, message(bob.bare, 'hello'))).toEqual(error);
    });

    it('deny with a whole stanza error: the client sees it', async () => {
      const whole = '<error type="modify"><policy-violation xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>';
      behave('stanza-check', json({ verdict: 'deny', error: { xml: whole } }));
      expect(await sendAndGetError(alice, message(bob.bare, 'hello'))).toEqual({
        type: 'modify',
        condition: 'policy-violation',
      });
    });

    it('drop: nobody sees anything', async () => {
      behave('stanza-check', json({ verdict: 'drop' }));
      await alice.send(message(bob.bare, 'hello'));
      await service.until(() => service.seen.length > 0);
      service.behave = allowAll;
      await alice.send(message(bob.bare, 'marker'));
      await alice.settle();

      await bob.take('the marker', hasBody('marker'));
      expect([...alice.inbox, ...bob.inbox].map(String)).toEqual([]);
    });

    it('modify: the recipient sees the replacement', async () => {
      behave('stanza-check', (response, seen) =>
        json({ verdict: 'modify', stanza: questionOf(seen).stanza?.replace('damn', 'd**n') })(response, seen),
      );
      await alice.send(message(bob.bare, 'damn'));
      await bob.take('the replacement', hasBody('d**n'));
    });

    it('defer: the client is told to try again', async () => {
      behave('stanza-check', json({ verdict: 'defer' }));
      expect(await sendAndGetError(alice, message(bob.bare, 'hello'))).toMatchObject({ type: 'wait' });
    });
  });

  describe("join-check through the operator's service", () => {
    it('allow: the client enters', async () => {
      await enterRoom(alice, newRoom(), 'alice');
    });

    it('deny: the client sees condition and text', async () => {
      behave('join-check', json({ verdict: 'deny', error }));
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toEqual(error);
    });

    it('drop: the client hears nothing', async () => {
      behave('join-check', json({ verdict: 'drop' }));
      await alice.send(joinOf(newRoom(), 'alice'));
      await alice.settle();
      expect(alice.inbox.map(String)).toEqual([]);
    });

    it('modify: is no answer to a join, so the fallback is taken', async () => {
      behave('join-check', json({ verdict: 'modify', stanza: '<presence/>' }));
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toMatchObject({ condition: 'forbidden' });
    });

    it('defer: the client is told to try again', async () => {
      behave('join-check', json({ verdict: 'defer' }));
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toMatchObject({ type: 'wait' });
    });
  });

  describe("session-check through the operator's service", () => {
    it('allow: the client gets its session', async () => {
      const dora = await server.connect('dora', { resource: 'phone' });
      expect(service.seen.map(questionOf)).toContainEqual(
        expect.objectContaining({
          operation: 'session-check',
          user: 'dora@localhost/phone',
          ip: '127.0.0.1',
          tls: false,
          mechanism: 'PLAIN',
        }),
      );
      await dora.stop();
    });

    it.each([
      ['deny', { verdict: 'deny', error }, error],
      ['drop', { verdict: 'drop' }, { type: 'cancel', condition: 'not-allowed' }],
      ['defer', { verdict: 'defer' }, { type: 'wait', condition: 'resource-constraint' }],
    ])('%s: the client sees why it gets none', async (_verdict, decision, seen) => {
      behave('session-check', json(decision));
      await expect(server.connect('dora')).rejects.toMatchObject(kind.refusal(seen));
    });
  });

  describe("roster-refresh through the operator's service", () => {
    it('serves the client what the service says, and keeps it when the service is gone', async () => {
      behave('roster-refresh', json({ items: [{ jid: 'bob@localhost', subscription: 'both', groups: ['Work'] }] }));
      const first = await server.connect('erna', { presence: false });
      expect(await contacts(first)).toEqual(['bob@localhost']);
      await kind.rosterStats(server); // behind what has been made of the answer
      await first.stop();
      behave('roster-refresh', answer(500, 'gone'));
      const second = await server.connect('erna', { presence: false });
      expect(await contacts(second)).toEqual(['bob@localhost']);
      await Promise.all([first.stop(), second.stop()]);
      const stranger = await server.connect('fritz', { presence: false });
      expect(errorOf(await stranger.ask('get', rosterQuery))).toMatchObject({
        type: 'wait',
        condition: 'resource-constraint',
      });
      await stranger.stop();
    });
  });

  describe('user-removed', () => {
    it('reaches the service', async () => {
      await server.register('gone');
      await server.unregister('gone');
      await service.until(() => service.seen.some((seen) => questionOf(seen).operation === 'user-removed'));
      expect(service.seen.map(questionOf)).toContainEqual(expect.objectContaining({ user: 'gone@localhost' }));
    });
  });

  describe('the sources of the originals', () => {
    it('mod_msg_filter: the first stanza is the error, the second reaches the recipient', async () => {
      const gerd = await server.connect('gerd', { domain: 'filter.test' });
      const first = '<error type="auth"><forbidden xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>';
      const second = '<message type="headline"><body>He tried</body></message>';
      service.behave = answer(
        200,
        `<status value="denied"><stanza1>${first}</stanza1><stanza2>${second}</stanza2></status>`,
      );
      expect(await sendAndGetError(gerd, message(bob.bare, 'hello'))).toEqual({ type: 'auth', condition: 'forbidden' });
      await bob.take('the second stanza', hasBody('He tried'));
      expect(service.seen.at(-1)?.url).toBe('/filter?from=gerd%40filter.test&to=bob%40localhost');
      await gerd.stop();
    });

    it('mod_muc_http_auth: denied with its error shown', async () => {
      const gerd = await server.connect('gerd', { domain: 'filter.test' });
      service.behave = json({ allowed: false, error: 'Not on Mondays' });
      expect(await sendAndGetError(gerd, joinOf(newRoom('filter.test'), 'gerd'))).toEqual({
        type: 'auth',
        condition: 'forbidden',
        text: 'Not on Mondays',
      });
      await gerd.stop();
    });

    it('mod_http_roster_admin: its contacts are the roster', async () => {
      service.behave = (response, seen) =>
        (seen.url === '/contacts/hugo' ? json({ 'bob@localhost': { name: 'Bob', groups: { Work: true } } }) : allowAll)(
          response,
          seen,
        );
      const hugo = await server.connect('hugo', { domain: 'filter.test', presence: false });
      const result = await hugo.ask('get', rosterQuery);
      const [item] = result.getChild('query')?.getChildren('item') ?? [];
      expect(item?.attrs).toMatchObject({ jid: 'bob@localhost', name: 'Bob', subscription: 'both' });
      expect(item?.getChildText('group')).toBe('Work');
      await hugo.stop();
    });
  });

  const failing: [string, Behaviour][] = [
    ['slow', keepSilent],
    ['answers 500', answer(500, JSON.stringify({ verdict: 'allow' }))],
    ['answers rubbish', answer(200, '{"verdict":')],
    ['answers with the wrong types', json({ verdict: true })],
    ['says what nobody knows', json({ verdict: 'perhaps' })],
    ['breaks off', breakOff],
  ];

  describe.each(failing)('a service that %s', (_what, behaviour) => {
    beforeEach(() => {
      service.behave = behaviour;
    });

    it('is answered by the fallback of each operation', async () => {
      await alice.send(message(bob.bare, 'hello'));
      await bob.take('the message', hasBody('hello'));
      expect(await sendAndGetError(alice, joinOf(newRoom(), 'alice'))).toMatchObject({
        type: 'auth',
        condition: 'forbidden',
      });
      await (await server.connect('dora')).stop();
    });

    it('costs nobody the roster that is known, and is no empty one where none is', async () => {
      const known = 'alice@localhost';
      service.behave = json({ items: [{ jid: known }] });
      const before = await server.connect('kurt', { presence: false });
      expect(await contacts(before)).toEqual([known]);
      await kind.rosterStats(server); // behind what has been made of the answer
      await before.stop();
      service.behave = behaviour;
      const [kurt, stranger] = await Promise.all([
        server.connect('kurt', { presence: false }),
        server.connect('lena', { presence: false }),
      ]);
      expect(await contacts(kurt)).toEqual([known]);
      expect(errorOf(await stranger.ask('get', rosterQuery))).toMatchObject({
        type: 'wait',
        condition: 'resource-constraint',
      });
      await Promise.all([before.stop(), kurt.stop(), stranger.stop()]);
    });

    it('is answered by the other fallbacks where they are configured', async () => {
      expect(await sendAndGetError(carol, message(bob.bare, 'hello'))).toMatchObject({
        type: 'cancel',
        condition: 'not-allowed',
      });
      await enterRoom(carol, newRoom('strict.test'), 'carol');
      await expect(server.connect('dora', { domain: 'strict.test' })).rejects.toMatchObject({
        condition: 'not-allowed',
      });
    });
  });

  describe('a service that is gone', () => {
    it('is answered by the fallback of each operation', async () => {
      const ida = await server.connect('ida', { domain: 'gone.test' });
      await ida.send(message(bob.bare, 'hello'));
      await bob.take('the message', hasBody('hello'));
      expect(await sendAndGetError(ida, joinOf(newRoom('gone.test'), 'ida'))).toMatchObject({ condition: 'forbidden' });
      await ida.stop();
    });

    it('is answered by the other fallbacks where they are configured', async () => {
      const ida = await server.connect('ida', { domain: 'gone-strict.test' });
      expect(await sendAndGetError(ida, message(bob.bare, 'hello'))).toMatchObject({ condition: 'not-allowed' });
      await enterRoom(ida, newRoom('gone-strict.test'), 'ida');
      await ida.stop();
      await expect(server.connect('ida', { domain: 'gone-session.test' })).rejects.toMatchObject({
        condition: 'not-allowed',
      });
    });
  });

  describe('workers and brokers that go', () => {
    /** Sends until the first worker is the one that asks, and leaves its question open. */
    async function untilFirstWorkerAsks(sender: TestClient, body: string): Promise<Element> {
      for (;;) {
        let letGo: (() => void) | undefined;
        service.seen.length = 0;
        service.behave = (response, seen) => (letGo = () => allowAll(response, seen));
        const stanza = message(bob.jid, body);
        await sender.send(stanza);
        await service.until(() => letGo !== undefined);
        if (service.seen[0]?.url === '/app/0') return stanza;
        letGo?.();
        await bob.take('what the second worker let pass', hasBody(body));
      }
    }

    it('one killed with questions in flight: these take the fallback, the other answers what comes after', async () => {
      await untilFirstWorkerAsks(alice, 'in flight');
      const denied = await untilFirstWorkerAsks(carol, 'in flight, too');
      workers[0]?.signal('SIGKILL');
      await workers[0]?.exited;

      await bob.take('the message of the one whose fallback is allow', hasBody('in flight'));
      expect(errorOf(await carol.reply(denied.attrs['id'] ?? ''))).toMatchObject({ condition: 'not-allowed' });
      service.behave = allowAll;
      service.seen.length = 0;
      await carol.send(message(bob.jid, 'answered by the other'));
      await bob.take('the message', hasBody('answered by the other'));
      expect(service.seen.map(({ url }) => url)).toEqual(['/app/1']);
    });

    it('a broker restarted under connected server and worker: both come back', async () => {
      const connected = /(Connected to NATS[^]*){2}/;
      const [reconnected] = [workers[1]?.waitForOutput(/reconnected/i)];
      await broker.restart();
      await server.waitForOutput(connected);
      await reconnected;
      await workerSees();
    });

    it('the last one stopped: everybody takes the fallback at once, until there is one again', async () => {
      expect(await workers[1]?.stop()).toEqual({ code: 0, signal: null });
      await alice.send(message(bob.jid, 'nobody is asked'));
      await bob.take('the message', hasBody('nobody is asked'));
      expect(await sendAndGetError(carol, message(bob.jid, 'hello'))).toMatchObject({ condition: 'not-allowed' });
      workers.push(await startWorker(2));
      await workerSees();
    });

    /** A message of one who would be denied without an answer. */
    async function workerSees(): Promise<void> {
      await carol.send(message(bob.jid, 'asked about again'));
      await bob.take('the message', hasBody('asked about again'));
    }
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(server.output()).not.toMatch(kind.crashed);
  });
}
