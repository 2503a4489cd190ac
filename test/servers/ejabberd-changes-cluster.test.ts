/** What users change and what becomes of removed accounts, on a cluster of two nodes of ejabberd. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';
import { holdRosters, logIn } from './roster-responder.ts';
import type { HeldItem, HeldRosters } from './roster-responder.ts';
import { isPresence, isPush, isPushOf, itemsIn, rosterQuery } from './roster-scene.ts';
import { xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';

let broker: NatsServer;
let responder: Responder;
let rosters: HeldRosters;
let first: Ejabberd;
let second: Ejabberd;

beforeAll(async () => {
  broker = await startNatsServer();
  responder = await startResponder(broker.url);
  const options = {
    natsUrl: broker.url,
    codePaths: [await buildHook()],
    policy: {
      roster: true,
      checks: ['user-removed'],
      timeoutsMs: {
        'roster-refresh': 30_000,
        'roster-set': 30_000,
        'roster-subscription': 30_000,
        'user-removed': 500,
      },
    },
  } as const;
  first = await startEjabberd(options);
  second = await startEjabberd({ ...options, cluster: first });
  await second.waitForOutput(/Connected to NATS[^]*Connected to NATS/); // anew, once it has joined
});

afterAll(async () => {
  await second?.stop();
  await first?.stop();
  await responder?.stop();
  await broker?.stop();
});

let users = 0;

beforeEach(() => {
  responder.reset();
  rosters = holdRosters(responder);
  users += 1;
});

/** Somebody whom no other test knows. */
function somebody(name: string, ...items: HeldItem[]): { username: string; bare: string } {
  const username = `${name}${users}`;
  rosters.put(`${username}@localhost`, items);
  return { username, bare: `${username}@localhost` };
}

async function logInOnBoth(username: string): Promise<[TestClient, TestClient]> {
  const [phone, tablet] = [await logIn(first, username, 'phone'), await logIn(second, username, 'tablet')];
  await phone.take('that the tablet is there', isPresence(tablet.jid));
  for (const device of [phone, tablet]) {
    await device.settle();
    device.inbox.length = 0;
  }
  return [phone, tablet];
}

const subscription = (type: string, to: string): Element =>
  xml('presence', { type, to, id: type }, xml('status', {}, 'Hello'));

function toldOf(user: string): unknown[] {
  return responder.of('user-removed').filter((asked) => asked['user'] === user);
}

describe('a contact that a client sets', () => {
  it('is in the roster of the device on the other node, which no other news has to tell', async () => {
    const [phone, tablet] = await logInOnBoth(somebody('anna').username);
    const set = rosterQuery(xml('item', { jid: 'bob@elsewhere.test', name: 'Bob' }, xml('group', {}, 'Chess')));
    expect((await phone.ask('set', set)).attrs['type']).toBe('result');

    for (const device of [phone, tablet]) {
      await device.take('the push', isPushOf('bob@elsewhere.test', { name: 'Bob', groups: ['Chess'] }));
      expect(itemsIn(await device.ask('get', rosterQuery()))).toHaveLength(1);
      expect(device.inbox.filter(isPush).map(String)).toEqual([]);
    }
    expect(responder.of('roster-set')).toHaveLength(1);
  });

  it('is gone from both when he is removed', async () => {
    const { username } = somebody('anna', { jid: 'bob@elsewhere.test', subscription: 'none' });
    const [phone, tablet] = await logInOnBoth(username);
    const removal = rosterQuery(xml('item', { jid: 'bob@elsewhere.test', subscription: 'remove' }));
    expect((await tablet.ask('set', removal)).attrs['type']).toBe('result');

    for (const device of [phone, tablet]) {
      await device.take('the push', isPushOf('bob@elsewhere.test', { subscription: 'remove' }));
      expect(itemsIn(await device.ask('get', rosterQuery()))).toEqual([]);
    }
  });
});

describe('a subscription', () => {
  it('is asked for on one node and granted on the other, and both users see it on all devices', async () => {
    const [anna, bert] = [somebody('anna'), somebody('bert')];
    const annas = await logInOnBoth(anna.username);
    const berts = [await logIn(second, bert.username, 'phone')] as const;
    await annas[0].send(subscription('subscribe', bert.bare));
    for (const device of annas) await device.take('the push', isPushOf(bert.bare, { ask: 'subscribe' }));
    const request = await berts[0].take('the request', isPresence(anna.bare, 'subscribe'));
    expect(request.getChildText('status')).toBe('Hello');
    await berts[0].send(subscription('subscribed', anna.bare));

    await berts[0].take('the push', isPushOf(anna.bare, { subscription: 'from' }));
    for (const device of annas) {
      await device.take('the push', isPushOf(bert.bare, { subscription: 'to' }));
      await device.take('presence', isPresence(berts[0].jid));
    }
    await responder.untilAsked('roster-subscription', 4);
    expect(
      responder.of('roster-subscription').map(({ direction, action }) => `${String(action)} ${String(direction)}`),
    ).toEqual(['subscribe out', 'subscribe in', 'subscribed out', 'subscribed in']);
  });

  it('that was asked for already is no question on the other node either', async () => {
    const [anna, bert] = [somebody('anna'), somebody('bert')];
    const annas = await logInOnBoth(anna.username);
    const berts = await logInOnBoth(bert.username);
    await annas[0].send(subscription('subscribe', bert.bare));
    for (const device of berts) await device.take('the request', isPresence(anna.bare, 'subscribe'));
    await annas[1].send(subscription('subscribe', bert.bare));
    await responder.untilAsked('roster-subscription', 3);
    await annas[1].settle();
    for (const device of berts) await device.settle();

    expect(responder.of('roster-subscription').map(({ direction }) => direction)).toEqual(['out', 'in', 'out']);
    for (const device of berts)
      expect(device.inbox.filter((one) => isPresence(anna.bare, 'subscribe')(one))).toEqual([]);
  });
});

describe('an account that is removed', () => {
  it('is told once, on whatever node its sessions were', async () => {
    const { username, bare } = somebody('anna');
    await logInOnBoth(username);
    await second.unregister(username);
    await second.waitForOutput(new RegExp(`user-removed: ${bare}`));
    const other = somebody('bert');
    await first.register(other.username);
    await first.unregister(other.username);
    await first.waitForOutput(new RegExp(`user-removed: ${other.bare}`));

    expect(toldOf(bare)).toHaveLength(1);
    expect(toldOf(other.bare)).toHaveLength(1);
  });

  it('is let in on no node before it was told, when it was made again', async () => {
    const { username, bare } = somebody('anna');
    await first.register(username);
    responder.on('user-removed', () => ({ failure: 'source-unavailable', text: '' }));
    await first.unregister(username);
    await first.waitForOutput(/user-removed failed: source-unavailable/);
    await expect(second.connect(username, { presence: false })).rejects.toThrow(/resource-constraint/);
    responder.on('user-removed', () => ({ forgotten: true }));

    expect((await second.connect(username, { presence: false })).bare).toBe(bare);
  });

  it('is told with the same id when its node was killed, and meanwhile by no other', async () => {
    const { username, bare } = somebody('anna');
    await second.register(username);
    responder.on('user-removed', () => undefined);
    await second.unregister(username);
    await responder.untilAsked('user-removed');
    await second.killAndRestart();
    responder.on('user-removed', () => ({ forgotten: true }));
    await second.waitForOutput(new RegExp(`user-removed: ${bare}`));

    const told = responder.of('user-removed');
    expect(new Set(told.map(({ id }) => id)).size).toBe(1);
    expect(new Set(told.map(({ server }) => server)).size).toBe(1);
    expect(first.output()).not.toContain(`user-removed: ${bare}`);
  });
});

it('nothing in all this went wrong inside ejabberd', () => {
  for (const node of [first, second]) expect(node.output()).not.toMatch(ejabberdKind.crashed);
});
