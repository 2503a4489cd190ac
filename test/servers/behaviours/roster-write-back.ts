/** Clients change their rosters and subscriptions; the application is told by HTTP, decides, and both nodes show what it stored. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  bothWays,
  forgetAll,
  leftIn,
  logInPair,
  rostersOf,
  seesNoStatus,
  seesStatus,
  takePresence,
  takePushes,
} from '../roster-pair.ts';
import type { Pair, Side } from '../roster-pair.ts';
import type { Contact, Told } from '../roster-application.ts';
import { isPresence, rosterQuery, startRosterScene } from '../roster-scene.ts';
import type { RosterScene } from '../roster-scene.ts';
import { errorOf, isFrom, xml } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { Element, TestClient } from '../xmpp-client.ts';

export function writeBack(kind: ServerKind): void {
  let scene: RosterScene;

  beforeAll(async () => {
    scene = await startRosterScene({
      kind,
      worker: ({ url }) => ({
        sources: { app: { type: 'http', url: `${url}/changes`, breaker: { failures: 1_000 } } },
        operations: {
          'roster-set': { sources: 'app' },
          'roster-subscription': { sources: 'app' },
          'user-removed': { sources: 'app' },
        },
      }),
    });
  });

  afterAll(() => scene?.stop());

  afterEach(() => {
    scene.application.failsWith = 0;
    scene.application.decide = () => ({ verdict: 'allow' });
    scene.application.forget();
  });

  const denied = {
    verdict: 'deny',
    error: { type: 'auth', condition: 'forbidden', text: 'Ask the department for it' },
  };

  /** An application that does what it is told. */
  function store(told: Told): unknown {
    const { operation, user, contact } = told as { operation: string; user: string; contact: string };
    const before: Contact = scene.application.rosterOf(user)[contact] ?? { subscription: 'none' };
    if (operation === 'roster-set') {
      const { name, groups, remove } = told as { name?: string; groups?: string[]; remove?: boolean };
      if (remove === true) scene.application.drop(user, contact);
      else {
        const { subscription = 'both', ask } = before;
        scene.application.put(user, contact, {
          subscription,
          groups: groups ?? [],
          ...(name === undefined ? {} : { name }),
          ...(ask === undefined ? {} : { ask }),
        });
      }
      return { verdict: 'allow' };
    }
    const { direction, action } = told as { direction: 'in' | 'out'; action: string };
    const { ask, ...item } = before;
    // Who is seen: the contact by the user (to), the user by the contact (from).
    const which = (direction === 'out') === (action === 'subscribe' || action === 'unsubscribe') ? 'to' : 'from';
    if (action === 'subscribe') {
      if (direction === 'out') scene.application.put(user, contact, { ...item, ask: 'subscribe' });
    } else {
      const has = new Set(item.subscription === 'both' ? ['to', 'from'] : [item.subscription ?? 'none']);
      if (action === 'subscribed') has.add(which);
      else has.delete(which);
      const subscription =
        has.has('to') && has.has('from') ? 'both' : has.has('to') ? 'to' : has.has('from') ? 'from' : 'none';
      const keepsAsking = ask !== undefined && which === 'from';
      scene.application.put(user, contact, { ...item, subscription, ...(keepsAsking ? { ask } : {}) });
    }
    return { verdict: 'allow' };
  }

  function set(client: TestClient | undefined, item: Element): Promise<Element> {
    if (client === undefined) throw new Error('there is no such device');
    return client.ask('set', rosterQuery(item));
  }

  const itemOf = (jid: string, name: string, ...groups: string[]): Element =>
    xml('item', { jid, name }, ...groups.map((group) => xml('group', {}, group)));

  const toldOf = (operation: string): Told[] =>
    scene.application.told.filter((told) => told['operation'] === operation);

  describe('a contact set by a client', () => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await logInPair(scene, (alice, bob) => scene.application.befriend(alice, bob, { name: 'Before' }));
    });

    it('is told to the application, and shown by all devices when it agrees', async () => {
      const { alice, bob } = pair;
      scene.application.decide = store;
      const result = await set(alice.devices[0], itemOf(bob.user, 'Bobby', 'Chess', 'Go'));

      expect(result.attrs['type']).toBe('result');
      expect(toldOf('roster-set')).toEqual([
        expect.objectContaining({ user: alice.user, contact: bob.user, name: 'Bobby', groups: ['Chess', 'Go'] }),
      ]);
      await takePushes(alice, bob.user, { name: 'Bobby', groups: ['Chess', 'Go'], subscription: 'both' });
      await bothWays(pair);
      expect(leftIn(alice)).toEqual([]);
      expect(leftIn(bob)).toEqual([]);
    });

    it('is shown as the application stored it, when it agrees to something else', async () => {
      const { alice, bob } = pair;
      scene.application.decide = (told) => {
        store({ ...told, name: 'Robert', groups: ['Staff'] });
        return { verdict: 'modify', item: { name: 'Robert', groups: ['Staff'] } };
      };
      const result = await set(alice.devices[1], itemOf(bob.user, 'Bobby', 'Chess'));

      expect(result.attrs['type']).toBe('result');
      await takePushes(alice, bob.user, { name: 'Robert', groups: ['Staff'] });
      await bothWays(pair);
      expect(leftIn(alice)).toEqual([]);
    });

    it('is refused with the words of the application, and nothing has changed', async () => {
      const { alice, bob } = pair;
      scene.application.decide = () => denied;
      const before = await rostersOf(alice);

      expect(errorOf(await set(alice.devices[0], itemOf(bob.user, 'Rob')))).toEqual(denied.error);
      await bothWays(pair);
      expect(leftIn(alice)).toEqual([]);
      expect(await rostersOf(alice)).toEqual(before);
    });

    it('is put off while the application is down', async () => {
      const { alice, bob } = pair;
      scene.application.failsWith = 503;
      const before = await rostersOf(alice);

      expect(errorOf(await set(alice.devices[0], itemOf(bob.user, 'Rob')))).toMatchObject({ type: 'wait' });
      expect(toldOf('roster-set')).toHaveLength(1);
      expect(await rostersOf(alice)).toEqual(before);
    });

    it('that is new is shown by all devices, without any presence', async () => {
      const { alice } = pair;
      scene.application.decide = store;
      await forgetAll(pair);
      await set(alice.devices[0], itemOf('carla@elsewhere.test', 'Carla'));

      await takePushes(alice, 'carla@elsewhere.test', { name: 'Carla', subscription: 'none' });
    });

    it('that is removed is gone on all devices, and neither is seen by the other any longer', async () => {
      const { alice, bob } = pair;
      await forgetAll(pair);
      scene.application.decide = store;
      const result = await set(alice.devices[0], xml('item', { jid: bob.user, subscription: 'remove' }));

      expect(result.attrs['type']).toBe('result');
      await takePushes(alice, bob.user, { subscription: 'remove' });
      await takePresence(bob, alice, 'unavailable');
      await seesNoStatus(pair, bob, alice);
      await seesNoStatus(pair, alice, bob);
      expect((await rostersOf(alice)).flat().map(({ jid }) => jid)).not.toContain(bob.user);
    });
  });

  describe('a subscription', () => {
    const subscription = (type: string, to: Side, ...children: Element[]): Element =>
      xml('presence', { type, to: to.user }, ...children);
    const isType = (type: string, from: Side) => isPresence(from.user, type);

    it('is asked for, granted and answered in kind by clients, the application agreeing to each step', async () => {
      const pair = await logInPair(scene);
      const { alice, bob } = pair;
      scene.application.decide = store;
      await alice.devices[0]?.send(subscription('subscribe', bob, xml('status', {}, 'It is me')));
      await takePushes(alice, bob.user, { subscription: 'none', ask: 'subscribe' });
      for (const device of bob.devices) {
        const asked = await device.take('the request', isType('subscribe', alice));
        expect(asked.getChildText('status')).toBe('It is me');
      }
      expect(toldOf('roster-subscription')).toEqual([
        expect.objectContaining({ user: alice.user, contact: bob.user, direction: 'out', action: 'subscribe' }),
        expect.objectContaining({ user: bob.user, contact: alice.user, direction: 'in', text: 'It is me' }),
      ]);

      await bob.devices[0]?.send(subscription('subscribed', alice));
      await takePushes(bob, alice.user, { subscription: 'from' });
      await takePushes(alice, bob.user, { subscription: 'to' });
      await takePresence(alice, bob);
      await seesStatus(alice, bob);
      await seesNoStatus(pair, bob, alice);

      await bob.devices[1]?.send(subscription('subscribe', alice));
      await takePushes(bob, alice.user, { subscription: 'from', ask: 'subscribe' });
      for (const device of alice.devices) await device.take('the request', isType('subscribe', bob));
      await alice.devices[1]?.send(subscription('subscribed', bob));
      await takePushes(alice, bob.user, { subscription: 'both' });
      await takePushes(bob, alice.user, { subscription: 'both' });
      await takePresence(bob, alice);
      await seesStatus(alice, bob);
      await seesStatus(bob, alice);
    });

    it('that the application does not want is refused before anybody hears of it', async () => {
      const pair = await logInPair(scene);
      const { alice, bob } = pair;
      scene.application.decide = () => denied;
      const [phone] = alice.devices;
      await phone?.send(subscription('subscribe', bob));

      const refused = await phone?.take('the refusal', isFrom(bob.user));
      expect(refused?.attrs['type']).toBe('error');
      expect(errorOf(refused ?? xml('presence'))).toEqual(denied.error);
      await bothWays(pair);
      expect([...leftIn(alice), ...leftIn(bob)]).toEqual([]);
      expect([...(await rostersOf(alice)), ...(await rostersOf(bob))].flat()).toEqual([]);
    });

    it("that the application does not want at the contact's side is declined there, and nobody goes on asking", async () => {
      const pair = await logInPair(scene);
      const { alice, bob } = pair;
      scene.application.decide = (told) =>
        told['direction'] === 'in' && told['action'] === 'subscribe' ? denied : store(told);
      await alice.devices[0]?.send(subscription('subscribe', bob));
      await takePushes(alice, bob.user, { subscription: 'none', ask: 'subscribe' });
      await takePushes(alice, bob.user, { subscription: 'none' });

      await bothWays(pair);
      expect(leftIn(bob)).toEqual([]);
      for (const [item] of await rostersOf(alice)) expect(item).not.toHaveProperty('ask');
    });

    it.each([
      ['unsubscribe', 'to'],
      ['unsubscribed', 'from'],
    ])('that is ended by %s has ended whatever the application says', async (action, ended) => {
      const pair = await logInPair(scene, (alice, bob) => scene.application.befriend(alice, bob));
      const { alice, bob } = pair;
      scene.application.decide = (told) => {
        store(told);
        return denied;
      };
      await alice.devices[0]?.send(subscription(action, bob));

      const [mine, theirs] = ended === 'to' ? ['from', 'to'] : ['to', 'from'];
      await takePushes(alice, bob.user, { subscription: mine });
      await takePushes(bob, alice.user, { subscription: theirs });
      const [seeing, seen] = ended === 'to' ? [alice, bob] : [bob, alice];
      await seesNoStatus(pair, seeing, seen);
      await seesStatus(seen, seeing);
      // In which order the two sides tell it is theirs.
      await scene.application.until(() => toldOf('roster-subscription').length >= 2);
      const told = toldOf('roster-subscription').toSorted((one, other) =>
        one['user'] === other['user'] ? 0 : one['user'] === alice.user ? -1 : 1,
      );
      expect(told).toEqual([
        expect.objectContaining({ user: alice.user, contact: bob.user, direction: 'out', action }),
        expect.objectContaining({ user: bob.user, contact: alice.user, direction: 'in', action }),
      ]);
    });
  });

  describe('an account that is deleted', () => {
    it('is told to the application until it has heard of it, under one id', async () => {
      const [node] = scene.nodes;
      await node?.register('leaving');
      scene.application.failsWith = 503;
      await node?.unregister('leaving');
      await scene.application.until(() => toldOf('user-removed').length >= 2);
      scene.application.failsWith = 0;
      const before = toldOf('user-removed').length;
      await scene.application.until(() => toldOf('user-removed').length > before);

      const told = toldOf('user-removed');
      expect(told.map(({ user }) => user)).toEqual(told.map(() => 'leaving@a.test'));
      expect(new Set(told.map(({ id }) => id)).size).toBe(1);
    });
  });

  it(`nothing in all this went wrong inside ${kind.name}`, () => {
    for (const node of scene.nodes) expect(node.output()).not.toMatch(kind.crashed);
  });
}
