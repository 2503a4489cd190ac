/** Rosters that the worker holds, served by a real server at login. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Answer, Asked, Responder } from '../responder.ts';
import { errorOf, isFrom, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function serveRosters(kind: RosterKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  const clients: TestClient[] = [];

  beforeAll(async () => {
    scene = await startSceneOn(kind, { policy: { roster: true, timeoutsMs: { 'roster-refresh': 30_000 } } });
    ({ responder } = scene);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => responder.reset());

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
  });

  /** Without presence: what a client does first is what these tests are about. */
  async function connect(username: string, resource?: string): Promise<TestClient> {
    const client = await scene.server.connect(username, {
      presence: false,
      ...(resource === undefined ? {} : { resource }),
    });
    clients.push(client);
    return client;
  }

  /** With its presence out, so with its roster in: what is answered from now on is not for this one. */
  async function connectAvailable(username: string, resource?: string): Promise<TestClient> {
    const client = await connect(username, resource);
    await client.send(xml('presence'));
    await client.take('its own presence', isFrom(client.jid));
    return client;
  }

  interface Item {
    readonly jid: string;
    readonly subscription: string;
    readonly name?: string;
    readonly ask?: string;
    readonly groups?: readonly string[];
  }

  function rosterOf(asked: Asked, version: string, items: readonly Item[], pending: readonly object[] = []): Answer {
    const [user] = asked['users'] as [string];
    const all = items.map((item) => ({ groups: [], ...item }));
    return {
      status: 'ok',
      message: '',
      updated: 1,
      errors: 0,
      rosters: { [user]: { version, items: all, pending } },
      failed: {},
    };
  }

  function serve(version: string, items: readonly Item[], pending: readonly object[] = []): void {
    responder.on('roster-refresh', (asked) => rosterOf(asked, version, items, pending));
  }

  const query = (ver?: string): Element =>
    xml('query', { xmlns: 'jabber:iq:roster', ...(ver === undefined ? {} : { ver }) });

  function itemsIn(iq: Element): Item[] {
    const items = iq.getChild('query', 'jabber:iq:roster')?.getChildren('item') ?? [];
    return items.map((item) => ({
      ...(item.attrs as unknown as Item),
      groups: item.getChildren('group').map((group) => group.text()),
    }));
  }

  const isPush = (stanza: Element): boolean =>
    stanza.name === 'iq' && stanza.attrs['type'] === 'set' && stanza.getChild('query') !== undefined;

  describe('the roster of a client', () => {
    it('is what the worker says, in the form of RFC 6121', async () => {
      serve('v1', [
        { jid: 'bob@localhost', subscription: 'both', name: 'Bob <3', groups: ['Work', 'Chess & Go'] },
        { jid: 'carol@elsewhere.test', subscription: 'to', ask: 'subscribe' },
      ]);
      const alice = await connect('alice');
      const result = await alice.ask('get', query());

      expect(responder.of('roster-refresh')).toHaveLength(1);
      expect(responder.of('roster-refresh')[0]).toMatchObject({ users: ['alice@localhost'], reason: 'login' });
      expect(result.attrs['type']).toBe('result');
      expect(result.getChild('query')?.attrs['ver']).toBe('v1');
      expect(itemsIn(result).toSorted((a, b) => a.jid.localeCompare(b.jid))).toEqual([
        { jid: 'bob@localhost', subscription: 'both', name: 'Bob <3', groups: ['Chess & Go', 'Work'] },
        { jid: 'carol@elsewhere.test', subscription: 'to', ask: 'subscribe', groups: [] },
      ]);
    });

    it('is not sent again to a client that has this version', async () => {
      serve('v1', [{ jid: 'bob@localhost', subscription: 'both' }]);
      const alice = await connect('alice');

      const result = await alice.ask('get', query('v1'));
      expect(result.attrs['type']).toBe('result');
      expect(result.getChildElements()).toEqual([]);
      expect(itemsIn(await alice.ask('get', query('v0')))).toHaveLength(1);
    });

    it('is empty when the worker says so', async () => {
      serve('v0', []);
      const dora = await connect('dora');
      const result = await dora.ask('get', query());

      expect(result.getChild('query')).toBeDefined();
      expect(itemsIn(result)).toEqual([]);
    });

    it('leaves out the user himself and what is no contact', async () => {
      serve('v1', [
        { jid: 'alice@localhost', subscription: 'both' },
        { jid: 'bob@localhost/phone', subscription: 'both' },
        { jid: '@', subscription: 'both' },
        { jid: 'CAROL@localhost', subscription: 'both' },
      ]);
      const alice = await connect('alice');

      expect(itemsIn(await alice.ask('get', query())).map(({ jid }) => jid)).toEqual(['carol@localhost']);
      await scene.server.waitForOutput(/3 contacts of alice@localhost have no usable JID/);
    });
  });

  describe('while the roster is being asked for', () => {
    it('the client waits for it, and presence sent right behind reaches the contacts', async () => {
      responder.on('roster-refresh', (asked) =>
        rosterOf(asked, 'v1', [{ jid: 'alice@localhost', subscription: 'both' }]),
      );
      const bob = await connectAvailable('bob');
      responder.reset();
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('roster-refresh', (asked) =>
        held.then(() => rosterOf(asked, 'v2', [{ jid: 'bob@localhost', subscription: 'both' }])),
      );
      const alice = await connect('alice');
      await alice.write(`${String(xml('iq', { type: 'get', id: 'roster' }, query()))}${String(xml('presence'))}`);
      await responder.untilAsked('roster-refresh');
      await bob.settle();
      expect(alice.inbox.filter((stanza) => stanza.attrs['id'] === 'roster')).toEqual([]);
      letGo?.();

      expect(itemsIn(await alice.reply('roster')).map(({ jid }) => jid)).toEqual(['bob@localhost']);
      await bob.take("alice's presence", isFrom(alice.jid));
      await alice.take("bob's presence", isFrom(bob.jid));
    });

    it('a session that is replaced meanwhile goes without a trace', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('roster-refresh', (asked) => held.then(() => rosterOf(asked, 'v1', [])));
      const first = await connect('zita', 'same');
      await first.send(xml('presence'));
      await responder.untilAsked('roster-refresh');
      const second = await connect('zita', 'same');
      letGo?.();

      await first.closed;
      expect(itemsIn(await second.ask('get', query()))).toEqual([]);
      expect(scene.server.output()).not.toMatch(kind.crashed);
    });

    it('two devices that log in at once ask once', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('roster-refresh', (asked) =>
        held.then(() => rosterOf(asked, 'v1', [{ jid: 'bob@localhost', subscription: 'both' }])),
      );
      const phone = await connect('alice', 'phone');
      await responder.untilAsked('roster-refresh');
      const tablet = await connect('alice', 'tablet');
      await kind.rosterStats(scene.server); // behind the tablet's own question
      letGo?.();

      expect(itemsIn(await phone.ask('get', query()))).toHaveLength(1);
      expect(itemsIn(await tablet.ask('get', query()))).toHaveLength(1);
      expect(responder.of('roster-refresh').map(({ reason, users }) => [reason, users])).toEqual([
        ['login', ['alice@localhost']],
      ]);
    });
  });

  describe('a roster that has changed by the next login', () => {
    it('is pushed to the devices that are there, one contact a push, and the contacts see who is there', async () => {
      serve('b1', [{ jid: 'erna@localhost', subscription: 'both' }]);
      const bob = await connectAvailable('bob');
      serve('v1', [
        { jid: 'frida@localhost', subscription: 'none' },
        { jid: 'old@localhost', subscription: 'none' },
      ]);
      const phone = await connect('erna', 'phone');
      await phone.ask('get', query());
      await phone.send(xml('presence'));
      await phone.take('its own presence', isFrom(phone.jid));
      serve('v2', [
        { jid: 'bob@localhost', subscription: 'both', groups: ['New'] },
        { jid: 'frida@localhost', subscription: 'none', name: 'Frida' },
      ]);
      await connect('erna', 'tablet');

      const pushes = [];
      for (let n = 0; n < 3; n += 1) pushes.push(await phone.take('a push', isPush));
      const items = pushes.flatMap(itemsIn).toSorted((a, b) => a.jid.localeCompare(b.jid));
      expect(items).toEqual([
        { jid: 'bob@localhost', subscription: 'both', groups: ['New'] },
        { jid: 'frida@localhost', subscription: 'none', name: 'Frida', groups: [] },
        { jid: 'old@localhost', subscription: 'remove', groups: [] },
      ]);
      const versions = pushes.map((push) => push.getChild('query')?.attrs['ver']);
      expect(versions.at(-1)).toBe('v2');
      expect(new Set(versions).size).toBe(3);
      await bob.take("erna's presence", isFrom(phone.jid));
      await phone.take("bob's presence", isFrom(bob.jid));
    });

    it('takes presence back from a contact who is gone from it', async () => {
      serve('b1', [{ jid: 'gerd@localhost', subscription: 'both' }]);
      const bob = await connectAvailable('bob');
      serve('v1', [{ jid: 'bob@localhost', subscription: 'both' }]);
      const phone = await connect('gerd', 'phone');
      await phone.send(xml('presence'));
      await bob.take("gerd's presence", isFrom(phone.jid));
      serve('v2', []);
      await connect('gerd', 'tablet');

      const gone = await bob.take('that gerd is gone', isFrom(phone.jid));
      expect(gone.attrs['type']).toBe('unavailable');
    });
  });

  describe('requests that wait for an answer', () => {
    it('are shown when the client becomes available', async () => {
      serve('v1', [], [{ jid: 'ivan@elsewhere.test', text: 'Let me in' }]);
      const hanna = await connect('hanna');
      await hanna.send(xml('presence'));

      const request = await hanna.take('the request', (stanza) => stanza.attrs['type'] === 'subscribe');
      expect(request.attrs['from']).toBe('ivan@elsewhere.test');
      expect(request.getChildText('status')).toBe('Let me in');
    });
  });

  describe('without an answer', () => {
    const failures: [string, (asked: Asked) => Answer][] = [
      ['the source is gone', () => ({ failure: 'source-unavailable', text: '' })],
      [
        'this roster failed',
        (asked) => ({
          status: 'error',
          rosters: {},
          failed: { [(asked['users'] as [string])[0]]: 'source-unavailable' },
        }),
      ],
      [
        'the roster of another came',
        () => ({ status: 'ok', rosters: { 'eve@localhost': { version: '', items: [] } }, failed: {} }),
      ],
      [
        'a subscription is none',
        (asked) => rosterOf(asked, 'v9', [{ jid: 'eve@localhost', subscription: 'sideways' }]),
      ],
      [
        'a group is no text',
        (asked) =>
          rosterOf(asked, 'v9', [{ jid: 'eve@localhost', subscription: 'both', groups: [7 as unknown as string] }]),
      ],
      ['it is rubbish', () => new Uint8Array([0xc1, 0xff])],
      ['it is for another question', (asked) => ({ ...(rosterOf(asked, 'v9', []) as object), id: 'another' })],
    ];

    it.each(failures)('the last known roster is served to another device when %s', async (_what, answer) => {
      serve('v1', [{ jid: 'bob@localhost', subscription: 'both' }]);
      const first = await connect('kurt', 'phone');
      await first.ask('get', query());
      responder.on('roster-refresh', answer);
      const second = await connect('kurt', 'tablet');

      const result = await second.ask('get', query());
      expect(itemsIn(result).map(({ jid }) => jid)).toEqual(['bob@localhost']);
      expect(result.getChild('query')?.attrs['ver']).toBe('v1');
    });

    it('the last known roster is served after a pause, too', async () => {
      serve('v1', [{ jid: 'bob@localhost', subscription: 'both' }]);
      const first = await connect('karl', 'phone');
      await first.ask('get', query());
      await kind.rosterStats(scene.server); // behind what has been made of the answer
      await first.stop();
      responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));
      const second = await connect('karl', 'phone');

      const result = await second.ask('get', query());
      expect(itemsIn(result).map(({ jid }) => jid)).toEqual(['bob@localhost']);
      expect(result.getChild('query')?.attrs['ver']).toBe('v1');
    });

    it('a client whose roster was never known is told to try again; when it does and there is one, nothing is missing', async () => {
      serve('b1', [{ jid: 'lena@localhost', subscription: 'both' }]);
      const bob = await connectAvailable('bob');
      responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));
      const lena = await connect('lena');
      const error = errorOf(await lena.ask('get', query()));
      expect(error).toMatchObject({ type: 'wait', condition: 'resource-constraint' });
      await lena.send(xml('presence'));
      await lena.take('its own presence', isFrom(lena.jid));
      serve('v1', [{ jid: 'bob@localhost', subscription: 'both' }]);

      expect(itemsIn(await lena.ask('get', query())).map(({ jid }) => jid)).toEqual(['bob@localhost']);
      await bob.take("lena's presence", isFrom(lena.jid));
      await lena.take("bob's presence", isFrom(bob.jid));
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
