/** What clients and contacts see when a roster changes while its user is online (RFC 6121). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isPresence, pushed, rosterQuery, itemsIn, startLiveRosterScene, told } from '../live-roster-scene.ts';
import type { Item, LiveRosterScene } from '../live-roster-scene.ts';
import type { TestClient } from '../xmpp-client.ts';
import { xml } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';

export function followRosters(kind: RosterKind): void {
  let scene: LiveRosterScene;
  const clients: TestClient[] = [];
  let names = 0;
  /** Two users whom nobody knows yet. */
  let alice: string;
  let bob: string;

  beforeAll(async () => {
    scene = await startLiveRosterScene(kind);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => {
    names += 1;
    alice = `alice${names}`;
    bob = `bob${names}`;
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
  });

  const at = (username: string): string => `${username}@localhost`;
  const both = (username: string): Item => ({ jid: at(username), subscription: 'both' });

  async function logIn(username: string, resource?: string): Promise<TestClient> {
    const client = await scene.logIn(username, resource);
    clients.push(client);
    return client;
  }

  /** Gives a user another roster and says so. */
  async function become(username: string, ...items: Item[]): Promise<void> {
    scene.hold(at(username), ...items);
    await scene.change({ user: at(username) });
  }

  const carol = 'carol@elsewhere.test';
  const before: Item = { jid: carol, subscription: 'none', name: 'Carol', groups: ['Work'] };

  describe('a roster that changes', () => {
    const changes: [string, Item[], Item[], Item][] = [
      ['a contact added', [], [before], before],
      ['a contact removed', [before], [], { jid: carol, subscription: 'remove', groups: [] }],
      ['a contact renamed', [before], [{ ...before, name: 'Caro' }], { ...before, name: 'Caro' }],
      [
        'a name taken away',
        [before],
        [{ jid: carol, subscription: 'none', groups: ['Work'] }],
        { jid: carol, subscription: 'none', groups: ['Work'] },
      ],
      ['groups', [before], [{ ...before, groups: ['A', 'B'] }], { ...before, groups: ['A', 'B'] }],
      ['a subscription', [before], [{ ...before, subscription: 'to' }], { ...before, subscription: 'to' }],
      ['a request sent', [before], [{ ...before, ask: 'subscribe' }], { ...before, ask: 'subscribe' }],
      ['a request that is over', [{ ...before, ask: 'subscribe' }], [before], before],
    ];

    it.each(changes)('%s: each device that has asked for the roster is told, once', async (_what, old, now, push) => {
      scene.hold(at(alice), ...old);
      const [phone, tablet] = [await logIn(alice, 'phone'), await logIn(alice, 'tablet')];
      const uninterested = await scene.server.connect(alice, { resource: 'bot' });
      clients.push(uninterested);
      for (const client of [phone, tablet, uninterested]) {
        await client.settle();
        client.inbox.length = 0;
      }
      await become(alice, ...now);

      expect(await pushed(phone)).toEqual(push);
      expect(await pushed(tablet)).toEqual(push);
      for (const client of [phone, tablet, uninterested]) {
        await client.settle();
        expect(told(client)).toEqual([]);
      }
      expect(itemsIn(await phone.ask('get', rosterQuery))).toEqual(now.map((item) => ({ groups: [], ...item })));
    });

    it('tells a device that is not available', async () => {
      const phone = await scene.server.connect(alice, { presence: false });
      clients.push(phone);
      await phone.ask('get', rosterQuery);
      await become(alice, both(bob));
      expect(await pushed(phone)).toMatchObject(both(bob));
    });

    it('by one removed and one added: both are told, in one go', async () => {
      scene.hold(at(alice), before);
      const phone = await logIn(alice);
      const asked = scene.askedFor(at(alice)).length;
      await become(alice, { jid: 'dora@elsewhere.test', subscription: 'none' });
      const pushes = [await pushed(phone), await pushed(phone)].map((item) => [item?.jid, item?.subscription]);
      expect(pushes.toSorted()).toEqual([
        [carol, 'remove'],
        ['dora@elsewhere.test', 'none'],
      ]);
      expect(scene.askedFor(at(alice))).toHaveLength(asked + 1);
    });

    it('in nothing: nobody is told', async () => {
      scene.hold(at(alice), before);
      const phone = await logIn(alice);
      const asked = scene.askedFor(at(alice)).length;
      await become(alice, before);
      await scene.untilAskedFor(at(alice), asked + 1);
      await become(alice, before, { jid: at(bob), subscription: 'none' });
      expect(await pushed(phone)).toMatchObject({ jid: at(bob) });
      expect(told(phone)).toEqual([]);
    });

    it('of somebody who is offline is not asked for', async () => {
      const client = await logIn(alice);
      await client.stop();
      const asked = scene.askedFor(at(alice)).length;
      await logIn(bob);
      await scene.change({ user: at(alice) });
      // Asked for after it.
      await become(bob, before);
      await scene.untilAskedFor(at(bob), 2);
      expect(scene.askedFor(at(alice))).toHaveLength(asked);
    });

    it('asks for the change, and for nothing older', async () => {
      await logIn(alice);
      const changed = await scene.change({ user: at(alice) });
      await scene.untilAskedFor(at(alice), 2);
      const asked = scene.askedFor(at(alice))[1];
      expect(asked).toMatchObject({ reason: 'changed', users: [at(alice)] });
      expect(asked?.['min_seq']).toBeGreaterThanOrEqual(changed);
    });

    it.each([
      ['the domain', { domain: 'localhost' }],
      ['all rosters', { operation: 'roster-refresh' }],
      ['everything', { all: true }],
      ['what nobody can read', { rubbish: 1 }],
    ])('as %s: everybody is asked for', async (_what, scope) => {
      const [phone, other] = [await logIn(alice), await logIn(bob)];
      scene.hold(at(alice), before);
      scene.hold(at(bob), before);
      await scene.change(scope);
      expect(await pushed(phone)).toEqual(before);
      expect(await pushed(other)).toEqual(before);
    });

    it.each([
      ['another domain', { domain: 'elsewhere.test' }],
      ['another operation', { operation: 'stanza-check' }],
      ['a room', { room: 'alice@localhost' }],
    ])('as %s: nobody is', async (_what, scope) => {
      await logIn(alice);
      await logIn(bob);
      const asked = scene.askedFor(at(alice)).length;
      await scene.change(scope);
      await become(bob, before);
      await scene.untilAskedFor(at(bob), 2);
      expect(scene.askedFor(at(alice))).toHaveLength(asked);
    });
  });

  describe('presence', () => {
    it('is exchanged by two who become contacts, whoever is refreshed first', async () => {
      const [phone, other] = [await logIn(alice, 'phone'), await logIn(bob, 'other')];
      await become(alice, both(bob));
      expect(await pushed(phone)).toMatchObject(both(bob));
      await other.take("alice's presence", isPresence(phone.jid));
      // He is not to be asked, and nothing is undone.
      await phone.settle();
      expect(told(phone)).toEqual([]);
      await become(bob, both(alice));
      expect(await pushed(other)).toMatchObject(both(alice));
      await phone.take("bob's presence", isPresence(other.jid));
      await other.take("alice's presence, probed for", isPresence(phone.jid));
      for (const client of [phone, other]) {
        await client.settle();
        expect(told(client)).toEqual([]);
      }
      expect(itemsIn(await phone.ask('get', rosterQuery))).toMatchObject([both(bob)]);
      expect(itemsIn(await other.ask('get', rosterQuery))).toMatchObject([both(alice)]);
    });

    it.each([
      ['the first answered first', [0, 1]],
      ['the second answered first', [1, 0]],
    ])('is exchanged by two who are refreshed at the same moment, %s', async (_how, order) => {
      const [phone, other] = [await logIn(alice, 'phone'), await logIn(bob, 'other')];
      scene.hold(at(alice), both(bob));
      scene.hold(at(bob), both(alice));
      const held: (() => void)[] = [];
      scene.responder.on('roster-refresh', async (asked) => {
        const place = (asked['users'] as string[])[0] === at(alice) ? 0 : 1;
        await new Promise<void>((resolve) => (held[place] = resolve));
        return scene.answer(asked);
      });
      await scene.change({ user: at(alice) });
      await scene.change({ user: at(bob) });
      await scene.untilAskedFor(at(alice), 2);
      await scene.untilAskedFor(at(bob), 2);
      scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
      for (const place of order) held[place]?.();
      expect(await pushed(phone)).toMatchObject(both(bob));
      expect(await pushed(other)).toMatchObject(both(alice));
      await phone.take("bob's presence", isPresence(other.jid));
      await other.take("alice's presence", isPresence(phone.jid));
      await phone.settle();
      await other.settle();
      // The same presence may come twice; nothing else does.
      for (const client of [phone, other])
        expect(client.inbox.filter(({ name, attrs }) => name === 'presence' && attrs['type'] !== undefined)).toEqual(
          [],
        );
      expect(itemsIn(await phone.ask('get', rosterQuery))).toMatchObject([both(bob)]);
      expect(itemsIn(await other.ask('get', rosterQuery))).toMatchObject([both(alice)]);
    });

    it('ends on both sides, for each device, when they are contacts no more', async () => {
      scene.hold(at(alice), both(bob));
      scene.hold(at(bob), both(alice));
      const [phone, tablet] = [await logIn(alice, 'phone'), await logIn(alice, 'tablet')];
      const other = await logIn(bob, 'other');
      await phone.take("bob's presence", isPresence(other.jid));
      for (const client of [phone, tablet, other]) {
        await client.settle();
        client.inbox.length = 0;
      }
      await become(alice);
      await other.take('that the phone is gone', isPresence(phone.jid, 'unavailable'));
      await other.take('that the tablet is gone', isPresence(tablet.jid, 'unavailable'));
      // Nobody but Prosody would tell them before bob's own roster is refreshed.
      await phone.take('that bob is gone', isPresence(other.jid, 'unavailable'));
      await tablet.take('that bob is gone', isPresence(other.jid, 'unavailable'));
      await become(bob);
      expect(await pushed(other)).toMatchObject({ jid: at(alice), subscription: 'remove' });
      await phone.take('that bob is gone', isPresence(other.jid, 'unavailable'));
    });

    it('a contact that may not be seen any more and is somewhere else is gone as a whole', async () => {
      scene.hold(at(alice), { jid: carol, subscription: 'to' });
      const phone = await logIn(alice);
      await become(alice, { jid: carol, subscription: 'none' });
      await phone.take('that she is gone', isPresence(carol, 'unavailable'));
    });

    it('goes one way where the relation does', async () => {
      const [phone, other] = [await logIn(alice, 'phone'), await logIn(bob, 'other')];
      await become(alice, { jid: at(bob), subscription: 'from' });
      await other.take("alice's presence", isPresence(phone.jid));
      await become(bob, { jid: at(alice), subscription: 'to' });
      await other.take("alice's presence, probed for", isPresence(phone.jid));
      await phone.settle();
      expect(told(phone).filter((stanza) => stanza.startsWith('<presence'))).toEqual([]);
    });

    it('is not touched by a new name', async () => {
      scene.hold(at(alice), both(bob));
      scene.hold(at(bob), both(alice));
      const [phone, other] = [await logIn(alice), await logIn(bob)];
      await phone.take("bob's presence", isPresence(other.jid));
      for (const client of [phone, other]) {
        await client.settle();
        client.inbox.length = 0;
      }
      await become(alice, { ...both(bob), name: 'Bobby' });
      expect(await pushed(phone)).toMatchObject({ name: 'Bobby' });
      for (const client of [phone, other]) {
        await client.settle();
        expect(told(client)).toEqual([]);
      }
    });

    it('of one who may not be seen is not told to who asks, and his roster stays as it is', async () => {
      const other = await logIn(bob);
      scene.hold(at(alice), both(bob));
      const phone = await logIn(alice);
      await phone.send(xml('presence', { type: 'probe', to: at(bob) }));
      await phone.send(xml('presence', { type: 'probe', to: other.jid }));
      await phone.settle();
      expect(told(phone)).toEqual([]);
      expect(itemsIn(await phone.ask('get', rosterQuery))).toMatchObject([both(bob)]);
    });
  });

  describe('requests for subscription that the application holds', () => {
    const request = { jid: 'ivan@elsewhere.test', text: 'Let me in' };

    it('are shown at once to who is available, once, and again at the next login', async () => {
      const phone = await logIn(alice, 'phone');
      scene.holdWhole(at(alice), { items: [], pending: [request] });
      await scene.change({ user: at(alice) });
      const shown = await phone.take('the request', isPresence(request.jid, 'subscribe'));
      expect(shown.getChildText('status')).toBe(request.text);
      scene.holdWhole(at(alice), { items: [before], pending: [request] });
      await scene.change({ user: at(alice) });
      expect(await pushed(phone)).toEqual(before);
      expect(told(phone)).toEqual([]);
      const tablet = await scene.server.connect(alice, { resource: 'tablet', presence: false });
      clients.push(tablet);
      await tablet.send(xml('presence'));
      await tablet.take('the request', isPresence(request.jid, 'subscribe'));
    });

    it('are gone when the application holds them no more', async () => {
      scene.holdWhole(at(alice), { items: [], pending: [request] });
      const phone = await logIn(alice, 'phone');
      await become(alice, before);
      expect(await pushed(phone)).toEqual(before);
      const tablet = await scene.server.connect(alice, { resource: 'tablet', presence: false });
      clients.push(tablet);
      await tablet.send(xml('presence'));
      await tablet.settle();
      expect(tablet.inbox.filter(isPresence(request.jid, 'subscribe'))).toEqual([]);
    });

    it('are not shown of a contact who may see the user already', async () => {
      const phone = await logIn(alice, 'phone');
      const contact = { jid: request.jid, subscription: 'from' };
      scene.holdWhole(at(alice), { items: [contact], pending: [request] });
      await scene.change({ user: at(alice) });
      expect(await pushed(phone)).toMatchObject(contact);
      await phone.settle();
      expect(told(phone)).toEqual([]);
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
