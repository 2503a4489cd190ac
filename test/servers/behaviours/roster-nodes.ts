/** Two users of two servers who become contacts, or are none any more, while both rosters are refreshed at once. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freePorts } from '../free-port.ts';
import { isPresence, itemsIn, pushed, rosterQuery, startLiveRosterScene } from '../live-roster-scene.ts';
import type { Item, LiveRosterScene } from '../live-roster-scene.ts';
import type { XmppServer } from '../xmpp-server.ts';
import { hasBody, message } from '../xmpp-client.ts';
import type { TestClient } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';

export function relateAcrossNodes(kind: RosterKind): void {
  let scene: LiveRosterScene;
  let second: XmppServer;
  let phone: TestClient;
  let other: TestClient;

  beforeAll(async () => {
    const [one, two] = (await freePorts(2)) as [number, number];
    const peers = { 'a.test': one, 'b.test': two };
    scene = await startLiveRosterScene(kind, { host: 'a.test', s2sPort: one, peers });
    second = await scene.alsoStart({ host: 'b.test', s2sPort: two, peers });
  });

  afterAll(() => scene?.stop());

  let names = 0;
  let alice: string;
  let bob: string;

  beforeEach(() => {
    names += 1;
    alice = `alice${names}@a.test`;
    bob = `bob${names}@b.test`;
  });

  afterEach(async () => {
    await Promise.all([phone?.stop(), other?.stop()]);
  });

  const both = (jid: string): Item => ({ jid, subscription: 'both' });

  async function logIn(): Promise<void> {
    phone = await scene.logIn(`alice${names}`, 'phone', 'a.test');
    other = await scene.logIn(`bob${names}`, 'other', 'b.test');
  }

  /** Says that both rosters have changed, and lets the answers out in this order, the second when the first has arrived. */
  async function refreshBoth(order: readonly (0 | 1)[], settled: (which: 0 | 1) => Promise<unknown>): Promise<void> {
    const held: (() => void)[] = [];
    scene.responder.on('roster-refresh', async (asked) => {
      const answer = scene.answer(asked);
      await new Promise<void>((resolve) => (held[(asked['users'] as string[])[0] === alice ? 0 : 1] = resolve));
      return answer;
    });
    const counts = [scene.askedFor(alice).length, scene.askedFor(bob).length] as const;
    await scene.change({ user: alice });
    await scene.change({ user: bob });
    await scene.untilAskedFor(alice, counts[0] + 1);
    await scene.untilAskedFor(bob, counts[1] + 1);
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
    for (const which of order) {
      held[which]?.();
      await settled(which);
    }
  }

  /** What each has sent to the other before has arrived. */
  async function untilQuiet(): Promise<void> {
    for (const round of ['one', 'two']) {
      await phone.send(message(other.jid, `from alice ${round}`));
      await other.take('a marker', hasBody(`from alice ${round}`));
      await other.send(message(phone.jid, `from bob ${round}`));
      await phone.take('a marker', hasBody(`from bob ${round}`));
    }
  }

  const orders: [string, readonly (0 | 1)[], boolean][] = [
    ['the first answered first', [0, 1], true],
    ['the second answered first', [1, 0], true],
    ['both answered at once', [0, 1], false],
  ];

  describe.each(orders)('two users on two nodes, %s', (_how, order, isOneByOne) => {
    const none = (): Promise<unknown> => Promise.resolve();

    it('who become contacts see each other, and stay contacts', async () => {
      await logIn();
      scene.hold(alice, both(bob));
      scene.hold(bob, both(alice));
      const clients = [phone, other] as const;
      const jids = [bob, alice] as const;
      const see = async (which: 0 | 1): Promise<void> => {
        expect(await pushed(clients[which])).toMatchObject(both(jids[which]));
        if (isOneByOne) await untilQuiet();
      };
      await refreshBoth(order, isOneByOne ? see : none);
      if (!isOneByOne) await Promise.all([see(0), see(1)]);
      await phone.take("bob's presence", isPresence(other.jid));
      await other.take("alice's presence", isPresence(phone.jid));
      await untilQuiet();
      for (const client of clients) {
        // The same presence may come twice; nothing is taken back.
        expect(client.inbox.filter(({ name, attrs }) => name === 'presence' && attrs['type'] !== undefined)).toEqual(
          [],
        );
      }
      expect(itemsIn(await phone.ask('get', rosterQuery))).toMatchObject([both(bob)]);
      expect(itemsIn(await other.ask('get', rosterQuery))).toMatchObject([both(alice)]);
    });

    it('who are contacts no more are gone for each other', async () => {
      scene.hold(alice, both(bob));
      scene.hold(bob, both(alice));
      await logIn();
      await phone.take("bob's presence", isPresence(other.jid));
      await untilQuiet();
      scene.hold(alice);
      scene.hold(bob);
      for (const client of [phone, other]) client.inbox.length = 0;
      await refreshBoth(order, isOneByOne ? untilQuiet : none);
      await phone.take('that bob is gone', isPresence(other.jid, 'unavailable'));
      await other.take('that alice is gone', isPresence(phone.jid, 'unavailable'));
      await untilQuiet();
      for (const client of [phone, other]) expect(itemsIn(await client.ask('get', rosterQuery))).toEqual([]);
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    for (const node of [scene.server, second]) expect(node.output()).not.toMatch(kind.crashed);
  });
}
