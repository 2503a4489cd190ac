/** What clients see at login of rosters that an application owns, whether it answers or not. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isPresence, itemsIn, rosterQuery, startRosterScene } from './roster-scene.ts';
import type { RosterScene } from './roster-scene.ts';
import { errorOf, isFrom, xml } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

let scene: RosterScene;

beforeAll(async () => {
  scene = await startRosterScene({
    // Every login asks the application.
    worker: () => ({ operations: { 'roster-refresh': { sources: 'contacts', ttl_ms: 0 } } }),
    hostOptions: (host) => `warder_fallback = { ["roster-refresh"] = "${host === 'a.test' ? 'last-known' : 'error'}" }`,
  });
});

afterAll(() => scene?.stop());

afterEach(() => {
  scene.application.failsWith = 0;
  scene.application.letGo();
});

let pairs = 0;

/** Two users who know each other, each at a node of his own. */
function befriended(): [alice: string, bob: string] {
  pairs += 1;
  const [alice, bob] = [`alice${pairs}@a.test`, `bob${pairs}@b.test`] as const;
  scene.application.befriend(alice, bob, { name: 'Friend', groups: ['Friends'] });
  return [alice, bob];
}

/** A session of which nothing was sent yet. */
function open(user: string, resource: string): Promise<TestClient> {
  const [username = '', domain] = user.split('@');
  const node = scene.nodes.find(({ host }) => host === domain);
  if (node === undefined) throw new Error(`no node of ${user}`);
  return node.connect(username, { resource, presence: false });
}

async function seeEachOther(some: readonly TestClient[], others: readonly TestClient[]): Promise<void> {
  for (const one of some) {
    for (const other of others) {
      await one.take(`that ${other.jid} is there`, isPresence(other.jid));
      await other.take(`that ${one.jid} is there`, isPresence(one.jid));
    }
  }
}

describe('with an application that answers', () => {
  it('all devices of both users show the roster and see each other, from node to node', async () => {
    const [alice, bob] = befriended();
    const ours = [await scene.logIn(alice, 'phone'), await scene.logIn(alice, 'laptop')];
    const theirs = [await scene.logIn(bob, 'phone'), await scene.logIn(bob, 'laptop')];

    for (const client of ours) {
      expect(itemsIn(await client.ask('get', rosterQuery()))).toEqual([
        { jid: bob, subscription: 'both', name: 'Friend', groups: ['Friends'] },
      ]);
    }
    await seeEachOther(ours, theirs);
  });

  it('presence sent right behind the request for the roster reaches the contacts, however slow the application is', async () => {
    const [alice, bob] = befriended();
    const theirs = [await scene.logIn(bob, 'phone'), await scene.logIn(bob, 'laptop')];
    scene.application.hold();
    const ours = [await open(alice, 'phone'), await open(alice, 'laptop')];
    for (const client of ours) {
      await client.write(
        `${String(xml('iq', { type: 'get', id: 'roster' }, rosterQuery()))}${String(xml('presence'))}`,
      );
    }
    await scene.application.untilHeld(alice);
    scene.application.letGo();

    for (const client of ours) expect(itemsIn(await client.reply('roster')).map(({ jid }) => jid)).toEqual([bob]);
    await seeEachOther(ours, theirs);
  });
});

describe('while the application is down', () => {
  it('a client of the node that prefers it gets the last known roster, with the presence of its contacts', async () => {
    const [alice, bob] = befriended();
    const theirs = [await scene.logIn(bob, 'phone'), await scene.logIn(bob, 'laptop')];
    await (await scene.logIn(alice, 'phone')).stop();
    for (const client of theirs) await client.take('that alice has left', isPresence(`${alice}/phone`, 'unavailable'));
    for (const client of theirs) client.inbox.length = 0;
    scene.application.failsWith = 503;
    const ours = [await open(alice, 'phone'), await open(alice, 'laptop')];
    for (const client of ours) {
      expect(itemsIn(await client.ask('get', rosterQuery())).map(({ jid }) => jid)).toEqual([bob]);
      await client.send(xml('presence'));
    }
    await seeEachOther(ours, theirs);
  });

  it('a client of the node that prefers an error gets one, although a roster is known', async () => {
    const [, bob] = befriended();
    await (await scene.logIn(bob, 'phone')).stop();
    scene.application.failsWith = 503;
    const phone = await open(bob, 'phone');

    expect(errorOf(await phone.ask('get', rosterQuery()))).toMatchObject({
      type: 'wait',
      condition: 'resource-constraint',
    });
    await phone.settle();
  });

  it.each(['a.test', 'b.test'])(
    'a client of %s whose roster was never known is told to try again, and misses nothing when it does',
    async (host) => {
      const [alice, bob] = befriended();
      const [user, friend] = host === 'a.test' ? [alice, bob] : [bob, alice];
      const theirs = [await scene.logIn(friend, 'phone'), await scene.logIn(friend, 'laptop')];
      scene.application.failsWith = 503;
      const ours = [await open(user, 'phone'), await open(user, 'laptop')];
      for (const client of ours) {
        expect(errorOf(await client.ask('get', rosterQuery()))).toMatchObject({
          type: 'wait',
          condition: 'resource-constraint',
        });
        await client.send(xml('presence'));
        await client.take('its own presence', isFrom(client.jid));
      }
      scene.application.failsWith = 0;

      for (const client of ours) {
        expect(itemsIn(await client.ask('get', rosterQuery())).map(({ jid }) => jid)).toEqual([friend]);
      }
      await seeEachOther(ours, theirs);
    },
  );
});

it('nothing in all this went wrong inside Prosody', () => {
  for (const node of scene.nodes) expect(node.output()).not.toMatch(/[Tt]raceback/);
});
