/** One user with sessions on two nodes of one cluster of ejabberd: each node sees to its own, and nobody is told twice. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { isPresence, isPush, itemsIn, pushed, rosterQuery, startLiveRosterScene, told } from './live-roster-scene.ts';
import type { Item, LiveRosterScene } from './live-roster-scene.ts';
import { named, openStream } from './raw-xmpp.ts';
import { ejabberdRosters } from './roster-kind.ts';
import type { RosterKind } from './roster-kind.ts';
import { errorOf, isFrom, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';

let scene: LiveRosterScene;
const nodes: Ejabberd[] = [];
const clients: TestClient[] = [];
let names = 0;
let alice: string;
let bob: string;

beforeAll(async () => {
  const hosts = { furtherHosts: [{ host: 'sleepy.test', resumption: true }] };
  const kind: RosterKind = {
    ...ejabberdRosters,
    start: async (options) => {
      const [cluster] = nodes;
      const codePaths = [await buildHook()];
      const node = await startEjabberd({ ...options, codePaths, ...(cluster === undefined ? {} : { cluster }) });
      nodes.push(node);
      return node;
    },
  };
  scene = await startLiveRosterScene(kind, hosts);
  await scene.alsoStart(hosts);
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
const carol = (name: string): Item => ({ jid: 'carol@elsewhere.test', subscription: 'none', name, groups: [] });

function nodeAt(place: 0 | 1): Ejabberd {
  const node = nodes[place];
  if (node === undefined) throw new Error(`there is no node ${place}`);
  return node;
}

async function logIn(place: 0 | 1, username: string, resource: string): Promise<TestClient> {
  const client = await nodeAt(place).connect(username, { resource, presence: false });
  clients.push(client);
  await client.ask('get', rosterQuery);
  await client.send(xml('presence'));
  await client.take('its own presence', isFrom(client.jid));
  await client.settle();
  return client;
}

async function become(username: string, ...items: Item[]): Promise<void> {
  scene.hold(at(username), ...items);
  await scene.change({ user: at(username) });
}

/** One of his sessions is on each node. */
async function logInOnBoth(username: string): Promise<[TestClient, TestClient]> {
  const [phone, tablet] = [await logIn(0, username, 'phone'), await logIn(1, username, 'tablet')];
  await phone.take('that the tablet is there', isPresence(tablet.jid));
  await forget(phone, tablet);
  return [phone, tablet];
}

async function forget(...devices: TestClient[]): Promise<void> {
  for (const client of devices) {
    await client.settle();
    client.inbox.length = 0;
  }
}

async function expectNoMore(...devices: TestClient[]): Promise<void> {
  for (const client of devices) {
    await client.settle();
    expect(told(client)).toEqual([]);
  }
}

/** How often each is told that the name has changed, again and again. */
async function rename(devices: readonly TestClient[], times: number): Promise<void> {
  for (let n = 1; n <= times; n += 1) {
    const item = carol(`Carol ${n}`);
    await become(alice, item);
    for (const client of devices) expect(await pushed(client)).toEqual(item);
  }
  await expectNoMore(...devices);
}

it('each session is pushed each change once, whichever node it is on', async () => {
  const devices = await logInOnBoth(alice);
  await rename(devices, 5);
  for (const client of devices) {
    const roster = await client.ask('get', rosterQuery);
    expect(itemsIn(roster)).toEqual([carol('Carol 5')]);
  }
});

it('many changes at once end with the same on both nodes, and nothing is pushed twice', async () => {
  const devices = await logInOnBoth(alice);
  const last = 20;
  for (let n = 1; n <= last; n += 1) await become(alice, carol(`Carol ${n}`));
  for (const client of devices) {
    const seen = [];
    do seen.push(await pushed(client));
    while (seen.at(-1)?.name !== `Carol ${last}`);
    const shown = seen.map((item) => item?.name);
    expect(new Set(shown).size).toBe(shown.length);
  }
  await expectNoMore(...devices);
});

it('only the node that has a session of his asks for his roster', async () => {
  await logIn(0, alice, 'phone');
  const asked = scene.askedFor(at(alice)).length;
  await logIn(1, bob, 'phone');
  await become(alice, carol('Carol'));
  await become(bob, carol('Carol'));
  await scene.untilAskedFor(at(bob), 2);
  await scene.untilAskedFor(at(alice), asked + 1);
  await clients[0]?.take('a push', isPush);
  await clients[1]?.take('a push', isPush);
  expect(scene.askedFor(at(alice))).toHaveLength(asked + 1);
});

it('contacts see all his sessions, and each of his sessions sees them, on whatever node', async () => {
  const [phone, tablet] = await logInOnBoth(alice);
  const [here, there] = [await logIn(0, bob, 'here'), await logIn(1, bob, 'there')];
  await forget(here, there, phone, tablet);
  await become(alice, both(bob));
  for (const client of [phone, tablet]) expect(await pushed(client)).toMatchObject(both(bob));
  await become(bob, both(alice));
  for (const client of [here, there]) {
    expect(await pushed(client)).toMatchObject(both(alice));
    for (const of of [phone, tablet]) await client.take(`the presence of ${of.jid}`, isPresence(of.jid));
  }
  for (const client of [phone, tablet])
    for (const of of [here, there]) await client.take(`the presence of ${of.jid}`, isPresence(of.jid));
  for (const client of [phone, tablet, here, there]) {
    await client.settle();
    const others = client.inbox.filter(({ name, attrs }) => name === 'presence' && attrs['type'] !== undefined);
    expect([others, client.inbox.filter(isPush)]).toEqual([[], []]);
  }

  await forget(phone, tablet, here, there);
  await become(alice);
  for (const client of [phone, tablet]) {
    expect(await pushed(client)).toMatchObject({ subscription: 'remove' });
    for (const of of [here, there]) await client.take(`that ${of.jid} is gone`, isPresence(of.jid, 'unavailable'));
  }
  for (const client of [here, there])
    for (const of of [phone, tablet]) await client.take(`that ${of.jid} is gone`, isPresence(of.jid, 'unavailable'));
  await expectNoMore(phone, tablet, here, there);
});

it('a session that is there already is seen by who becomes a contact on the other node, and by nobody else', async () => {
  const phone = await logIn(0, alice, 'phone');
  const other = await logIn(1, bob, 'other');
  scene.hold(at(bob), { jid: at(alice), subscription: 'to' });
  await become(alice, { jid: at(bob), subscription: 'from' });
  await other.take("alice's presence", isPresence(phone.jid));
  await expectNoMore(other);
  await scene.change({ user: at(bob) });
  expect(await pushed(other)).toMatchObject({ jid: at(alice), subscription: 'to' });
  await other.take("alice's presence, probed for", isPresence(phone.jid));
  await phone.take('the push', isPush);
  await expectNoMore(phone, other);
});

it('after a node has restarted, its sessions are new and right, and those of the other have lost nothing', async () => {
  const [phone, tablet] = await logInOnBoth(alice);
  scene.hold(at(bob), both(alice));
  const watcher = await logIn(0, bob, 'watcher');
  await become(alice, both(bob), carol('before'));
  for (const client of [phone, tablet]) {
    await pushed(client);
    await pushed(client);
  }
  for (const of of [phone, tablet]) await watcher.take(`the presence of ${of.jid}`, isPresence(of.jid));
  await watcher.settle();
  await nodeAt(1).killAndRestart();
  await nodeAt(1).waitForOutput(/Connected to NATS/);
  await forget(phone, watcher);

  const again = await logIn(1, alice, 'again');
  await watcher.take('the presence of the new session', isPresence(again.jid));
  await again.take("the watcher's presence", isPresence(watcher.jid));
  expect(itemsIn(await again.ask('get', rosterQuery))).toHaveLength(2);
  await forget(phone, again, watcher);
  await become(alice, both(bob), carol('after'));
  for (const client of [phone, again]) expect(await pushed(client)).toEqual(carol('after'));
  await expectNoMore(phone, again, watcher);
  await become(alice, carol('after'));
  for (const of of [phone, again]) await watcher.take(`that ${of.jid} is gone`, isPresence(of.jid, 'unavailable'));
});

it('a session that is resumed on the other node is told there of what has changed meanwhile, and of what changes then', async () => {
  const user = `${alice}@sleepy.test`;
  scene.hold(user, carol('before'));
  await nodeAt(0).register(alice, 'sleepy.test');
  const stream = await openStream(nodeAt(0).port, 'sleepy.test');
  await stream.authenticate(alice);
  await stream.bind('phone');
  stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const enabled = await stream.take('enabled', named('enabled'));
  stream.write(`<iq type='get' id='r'>${String(rosterQuery)}</iq><presence/>`);
  await stream.take('the roster', ({ attrs }) => attrs['id'] === 'r');
  await stream.take('its own presence', named('presence'));
  stream.vanish();
  scene.hold(user, carol('meanwhile'));
  await scene.change({ user });
  await scene.untilAskedFor(user, 2);
  // Of sessions that nodes have begun within one second, ejabberd does not know which is the later one.
  const now = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 1_000 - (now % 1_000)));

  const again = await openStream(nodeAt(1).port, 'sleepy.test');
  await again.authenticate(alice);
  again.write(`<resume xmlns='urn:xmpp:sm:3' h='2' previd='${enabled.attrs['id'] ?? ''}'/>`);
  await again.take('resumed', named('resumed'));
  const isNamed = (name: string) => (stanza: Element) => isPush(stanza) && itemsIn(stanza)[0]?.name === name;
  await again.take('the push of what has changed', isNamed('meanwhile'));
  scene.hold(user, carol('after'));
  await scene.change({ user });
  await again.take('the push of what changes', isNamed('after'));
  again.write('</stream:stream>');
});

describe('what is last known', () => {
  const keeper = 'gen_mod:get_module_proc(<<"localhost">>, mod_warder_roster_known)';

  afterEach(() => scene.responder.on('roster-refresh', (asked) => scene.answer(asked)));

  const goAway = (): void => scene.responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));

  /** She was online there with this contact, and is nowhere any more. */
  async function leaveBehind(place: 0 | 1, name: string): Promise<void> {
    scene.hold(at(alice), carol(name));
    const client = await logIn(place, alice, 'phone');
    await ejabberdRosters.rosterStats(nodeAt(place)); // behind what has been made of the answer
    await client.stop();
  }

  async function expectError(place: 0 | 1): Promise<void> {
    const client = await nodeAt(place).connect(alice, { presence: false });
    clients.push(client);
    expect(errorOf(await client.ask('get', rosterQuery))).toMatchObject({ condition: 'resource-constraint' });
  }

  it('is known on each node, and of what two nodes know the latest counts', async () => {
    await leaveBehind(0, 'first');
    goAway();
    const there = await logIn(1, alice, 'there');
    expect(itemsIn(await there.ask('get', rosterQuery))).toEqual([carol('first')]);
    scene.hold(at(alice), carol('second'));
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
    expect(await pushed(there)).toEqual(carol('second'));
    await ejabberdRosters.rosterStats(nodeAt(1));
    await there.stop();
    goAway();
    const here = await logIn(0, alice, 'here');
    expect(itemsIn(await here.ask('get', rosterQuery))).toEqual([carol('second')]);
    await here.stop();

    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
    await leaveBehind(0, 'first');
    goAway();
    const again = await logIn(1, alice, 'again');
    expect(itemsIn(await again.ask('get', rosterQuery))).toEqual([carol('first')]);
  });

  it('goes from all nodes with the account', async () => {
    await leaveBehind(0, 'known');
    await leaveBehind(1, 'known');
    await nodeAt(1).unregister(alice);
    goAway();
    await expectError(0);
    await expectError(1);
  });

  it('on a node that has missed the removal of the account is overruled by the others, until there is an answer', async () => {
    await leaveBehind(1, 'known');
    await nodeAt(0).shell(`ok = gen_server:call(${keeper}, {forget, <<"${alice}">>, true})`);
    goAway();
    await expectError(1);
    for (const client of clients.splice(0)) await client.stop();
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
    await leaveBehind(1, 'new');
    goAway();
    const here = await logIn(0, alice, 'here');
    expect(itemsIn(await here.ask('get', rosterQuery))).toEqual([carol('new')]);
  });

  it('is served while another node stands still', async () => {
    await leaveBehind(0, 'known');
    goAway();
    await nodeAt(1).pause();
    try {
      const here = await nodeAt(0).connect(alice, { presence: false });
      clients.push(here);
      expect(itemsIn(await here.ask('get', rosterQuery))).toEqual([carol('known')]);
    } finally {
      nodeAt(1).resume();
    }
  });
});

it('nothing in all this went wrong inside the nodes', () => {
  for (const node of nodes) expect(node.output()).not.toMatch(ejabberdRosters.crashed);
});
