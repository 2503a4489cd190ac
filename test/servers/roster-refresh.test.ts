/** An application says whose rosters changed, in every way there is, and the clients of both nodes see what follows. */
import { request } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodeJson } from '../../src/wire/json.ts';
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
} from './roster-pair.ts';
import type { Pair } from './roster-pair.ts';
import { isPush, itemsIn, prefix, startRosterScene } from './roster-scene.ts';
import type { RosterScene } from './roster-scene.ts';
import { isFrom } from './xmpp-client.ts';

let scene: RosterScene;

beforeAll(async () => {
  scene = await startRosterScene();
});

afterAll(() => scene?.stop());

afterEach(() => {
  scene.application.letGo();
  scene.application.answerMs = 0;
});

type Answered = Readonly<Record<string, unknown>>;

/** As an application posts it to a server: the node by its name, the worker by its address. */
function post(url: string, users: readonly string[], host?: string): Promise<Answered> {
  const headers = { 'content-type': 'application/json', ...(host === undefined ? {} : { host }) };
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/roster_admin/refresh`, { method: 'POST', headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => {
        const answered = response.statusCode === 200 ? (JSON.parse(body) as Answered) : undefined;
        if (answered?.['status'] === 'ok' && answered['message'] === 'roster update complete') resolve(answered);
        else reject(new Error(`${response.statusCode}: ${body}`));
      });
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(users));
  });
}

const ways: readonly [string, (users: readonly string[]) => Promise<Answered>][] = [
  ['a POST to one worker', (users) => post(scene.workers[0].url, users)],
  ['a POST to the other worker', (users) => post(scene.workers[1].url, users)],
  ["a POST to the first node's own port", (users) => post(nodeUrl(0), users, 'a.test')],
  ["a POST to the second node's own port", (users) => post(nodeUrl(1), users, 'b.test')],
  [
    'warder refresh',
    async (users) => {
      const ran = await scene.warder('refresh', ...users, '--json');
      expect(ran.code, ran.stderr + ran.stdout).toBe(0);
      return JSON.parse(ran.stdout) as Answered;
    },
  ],
  [
    'a request over NATS',
    async (users) => {
      const asked = { v: 1, id: 'a-refresh-by-hand', server: 'test', budget_ms: 10_000, users, reason: 'admin' };
      const reply = await scene.nats.request(`${prefix}.roster-refresh`, JSON.stringify(asked), { timeout: 10_000 });
      return decodeJson(reply.data);
    },
  ],
];

function nodeUrl(index: number): string {
  return `http://127.0.0.1:${scene.httpPorts[index] ?? 0}`;
}

const refresh = (...users: string[]): Promise<Answered> => post(scene.workers[0].url, users);

/** Both show each other, and each other's presence arrives. */
async function areFriends(pair: Pair, shown: Readonly<Record<string, unknown>> = {}): Promise<void> {
  for (const [side, other] of [
    [pair.alice, pair.bob],
    [pair.bob, pair.alice],
  ] as const) {
    for (const roster of await rostersOf(side)) {
      expect(roster).toEqual([expect.objectContaining({ jid: other.user, subscription: 'both', ...shown })]);
    }
    await seesStatus(side, other);
  }
}

describe.each(ways)('%s', (_way, refreshBy) => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await logInPair(scene);
  });

  const answered = { updated: 2, errors: 0 };

  it('makes friends of two users at two nodes, who see each other at once on all devices', async () => {
    const { alice, bob } = pair;
    scene.application.befriend(alice.user, bob.user, { name: 'Friend', groups: ['Work'] });
    expect(await refreshBy([alice.user, bob.user])).toMatchObject(answered);

    const shown = { subscription: 'both', name: 'Friend', groups: ['Work'] };
    await takePushes(alice, bob.user, shown);
    await takePushes(bob, alice.user, shown);
    await takePresence(alice, bob);
    await takePresence(bob, alice);
    await areFriends(pair, shown);
  });

  it('renames a contact and puts it into other groups, which is nobody else’s concern', async () => {
    const { alice, bob } = pair;
    await forgetAll(pair);
    scene.application.put(alice.user, bob.user, { name: 'Bobby', groups: ['Chess', 'Go'] });
    expect(await refreshBy([alice.user])).toMatchObject({ ...answered, updated: 1 });

    await takePushes(alice, bob.user, { subscription: 'both', name: 'Bobby', groups: ['Chess', 'Go'] });
    await bothWays(pair);
    expect(leftIn(alice)).toEqual([]);
    expect(leftIn(bob)).toEqual([]);
  });

  it('makes it one-sided: who may no longer be seen is gone for the other, and sees on', async () => {
    const { alice, bob } = pair;
    await forgetAll(pair);
    scene.application.put(alice.user, bob.user, { subscription: 'to' });
    scene.application.put(bob.user, alice.user, { subscription: 'from' });
    expect(await refreshBy([alice.user, bob.user])).toMatchObject(answered);

    await takePushes(alice, bob.user, { subscription: 'to' });
    await takePushes(bob, alice.user, { subscription: 'from' });
    await takePresence(bob, alice, 'unavailable');
    await seesNoStatus(pair, bob, alice);
    await seesStatus(alice, bob);
  });

  it('parts them: both are gone for each other, on all devices', async () => {
    const { alice, bob } = pair;
    scene.application.befriend(alice.user, bob.user);
    await refreshBy([alice.user, bob.user]);
    await takePushes(alice, bob.user, { subscription: 'both' });
    await takePushes(bob, alice.user, { subscription: 'both' });
    await takePresence(bob, alice);
    await forgetAll(pair);
    scene.application.part(alice.user, bob.user);
    expect(await refreshBy([alice.user, bob.user])).toMatchObject(answered);

    await takePushes(alice, bob.user, { subscription: 'remove' });
    await takePushes(bob, alice.user, { subscription: 'remove' });
    await takePresence(alice, bob, 'unavailable');
    await takePresence(bob, alice, 'unavailable');
    await seesNoStatus(pair, alice, bob);
    await seesNoStatus(pair, bob, alice);
    expect([...(await rostersOf(alice)), ...(await rostersOf(bob))]).toEqual([[], [], [], []]);
  });
});

describe('of two users who became friends', () => {
  it.each(['alice first', 'bob first'])(
    'one is refreshed, then the other (%s): the relation stays, and both see each other',
    async (order) => {
      const pair = await logInPair(scene);
      const { alice, bob } = pair;
      const [first, second] = order === 'alice first' ? [alice, bob] : [bob, alice];
      scene.application.befriend(alice.user, bob.user);
      await refresh(first.user);
      await takePushes(first, second.user, { subscription: 'both' });
      // The probe that goes out now asks a server that knows of no relation yet.
      await bothWays(pair);
      for (const device of first.devices) {
        expect(device.inbox.filter((stanza) => stanza.attrs['type'] === 'unsubscribed').map(String)).toEqual([]);
        expect(device.inbox.filter(isPush).map(String)).toEqual([]);
      }
      await refresh(second.user);

      await takePushes(second, first.user, { subscription: 'both' });
      await takePresence(second, first);
      await takePresence(first, second);
      await areFriends(pair);
    },
  );

  it('both are refreshed at once at two workers: the relation stays, and both see each other', async () => {
    for (let round = 0; round < 5; round += 1) {
      const pair = await logInPair(scene);
      const { alice, bob } = pair;
      scene.application.befriend(alice.user, bob.user);
      await Promise.all([post(scene.workers[0].url, [alice.user]), post(scene.workers[1].url, [bob.user])]);

      await takePushes(alice, bob.user, { subscription: 'both' });
      await takePushes(bob, alice.user, { subscription: 'both' });
      await takePresence(alice, bob);
      await takePresence(bob, alice);
      await areFriends(pair);
    }
  });
});

describe('refreshes that overlap', () => {
  it('end with the newer roster everywhere, when the application answers the newer question first', async () => {
    const pair = await logInPair(scene, (alice, bob) => scene.application.befriend(alice, bob, { name: 'At first' }));
    const { alice, bob } = pair;
    scene.application.hold((_user, roster) => roster[bob.user]?.name === 'Older');
    scene.application.put(alice.user, bob.user, { name: 'Older' });
    const older = post(scene.workers[0].url, [alice.user]);
    await scene.application.untilHeld(alice.user);
    scene.application.put(alice.user, bob.user, { name: 'Newer' });
    const newer = post(scene.workers[1].url, [alice.user]);
    await takePushes(alice, bob.user, { name: 'Newer' });
    scene.application.letGo();
    await Promise.all([older, newer]);

    await settleBy(pair);
    for (const roster of await rostersOf(alice)) expect(roster).toEqual([expect.objectContaining({ name: 'Newer' })]);
  });

  it('end with the newest roster everywhere, when fifty of them are answered in any order', async () => {
    const pair = await logInPair(scene, (alice, bob) => scene.application.befriend(alice, bob));
    const { alice, bob } = pair;
    const names = Array.from({ length: 50 }, (_, index) => `Name ${index}`);
    const posted = names.map(async (name, index) => {
      scene.application.answerMs = (index * 37) % 90; // in no order that follows the questions
      scene.application.put(alice.user, bob.user, { name });
      return post(scene.workers[index % 2 === 0 ? 0 : 1].url, [alice.user]);
    });
    await Promise.all(posted);

    await settleBy(pair);
    for (const device of alice.devices) {
      const shown = device.inbox.filter(isPush).flatMap((push) => itemsIn(push).map(({ name }) => name));
      expect(shown.at(-1)).toBe('Name 49');
    }
    for (const roster of await rostersOf(alice)) expect(roster).toEqual([expect.objectContaining({ name: 'Name 49' })]);
  });

  /** What was asked before has been answered by now: another contact has come to all devices of both, and stays. */
  async function settleBy(pair: Pair): Promise<void> {
    scene.application.answerMs = 0;
    const { alice, bob } = pair;
    for (const side of [alice, bob]) {
      const marker = 'marker@elsewhere.test';
      scene.application.put(side.user, marker, { subscription: 'none' });
      await refresh(side.user);
      await takePushes(side, marker, {});
      scene.application.drop(side.user, marker);
      await refresh(side.user);
      await takePushes(side, marker, { subscription: 'remove' });
    }
    await bothWays(pair);
  }
});

describe('a user who is offline', () => {
  it('costs his server nothing: only the worker asks the application, once', async () => {
    const online = await logInPair(scene);
    const offline = Array.from({ length: 50 }, (_, index) => `offline${index}@a.test`);
    const gone = await scene.logIn('offline0@a.test', 'phone');
    await gone.stop();
    const { alice } = online;
    for (const user of offline) scene.application.put(user, alice.user);
    scene.application.put(alice.user, 'marker@elsewhere.test', { subscription: 'none' });
    scene.application.forget();
    const before = (await scene.questions()).length;
    expect(await refresh(...offline)).toMatchObject({ status: 'ok', updated: 50, errors: 0 });
    await refresh(alice.user);
    await takePushes(alice, 'marker@elsewhere.test', {});

    const asked = (await scene.questions()).slice(before).filter(({ reason }) => reason !== 'admin');
    expect(asked.flatMap(({ users }) => users)).toEqual([alice.user]);
    expect(offline.map((user) => scene.application.asked.get(user))).toEqual(offline.map(() => 1));
  });

  it('finds the newer roster at his next login', async () => {
    const [user, friend] = ['late@a.test', 'friend@b.test'];
    await (await scene.logIn(user, 'phone')).stop();
    const theirs = await scene.logIn(friend, 'phone');
    scene.application.befriend(user, friend);
    await refresh(user, friend);
    const again = await scene.logIn(user, 'phone');

    await again.take("the friend's presence", isFrom(theirs.jid));
    await theirs.take('presence of who was late', isFrom(again.jid));
  });
});

it('nothing in all this went wrong inside Prosody', () => {
  for (const node of scene.nodes) expect(node.output()).not.toMatch(/[Tt]raceback/);
});
