/** Two users at home at two nodes, with two devices each, and what each of them can be shown to see of the other. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { isPresence, isPush, isPushOf, itemsIn, rosterQuery } from './roster-scene.ts';
import type { RosterScene, ShownItem } from './roster-scene.ts';
import { hasBody, message, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';

export interface Side {
  /** Bare JID. */
  readonly user: string;
  readonly devices: readonly TestClient[];
}

export interface Pair {
  /** At a.test. */
  readonly alice: Side;
  /** At b.test. */
  readonly bob: Side;
}

let pairs = 0;

/** Two users whom no other test knows; `before` is told their bare JIDs before they log in. */
export async function logInPair(
  scene: RosterScene,
  before: (alice: string, bob: string) => void = () => undefined,
): Promise<Pair> {
  pairs += 1;
  const [alice, bob] = [`alice${pairs}@a.test`, `bob${pairs}@b.test`] as const;
  before(alice, bob);
  const devices = (user: string): Promise<TestClient[]> =>
    Promise.all(['phone', 'laptop'].map((resource) => scene.logIn(user, resource)));
  const pair = {
    alice: { user: alice, devices: await devices(alice) },
    bob: { user: bob, devices: await devices(bob) },
  };
  await forgetAll(pair);
  return pair;
}

export function devicesOf({ alice, bob }: Pair): readonly TestClient[] {
  return [...alice.devices, ...bob.devices];
}

/** What was under way has come, and is forgotten. */
export async function forgetAll(pair: Pair): Promise<void> {
  await bothWays(pair);
  for (const device of devicesOf(pair)) device.inbox.length = 0;
}

/** All devices of one side are pushed the contact as it is now. */
export async function takePushes(side: Side, contact: string, shown: Readonly<Record<string, unknown>>): Promise<void> {
  for (const device of side.devices) {
    await device.take(`a push of ${contact} with ${JSON.stringify(shown)}`, isPushOf(contact, shown));
  }
}

/** Each device of one side gets presence of each device of the other: available, or of the type. */
export async function takePresence(side: Side, other: Side, type?: string): Promise<void> {
  for (const device of side.devices) {
    for (const { jid } of other.devices) {
      await device.take(`${type ?? 'available'} presence of ${jid}`, isPresence(jid, type));
    }
  }
}

/** A change of status at one side arrives at all devices of the other. */
export async function seesStatus(side: Side, other: Side): Promise<void> {
  const status = randomUUID();
  const [phone] = other.devices;
  await phone?.send(xml('presence', {}, xml('status', {}, status)));
  for (const device of side.devices) {
    await device.take(`the status of ${other.user}`, hasStatus(status));
  }
}

/** A change of status at one side arrives nowhere at the other. */
export async function seesNoStatus(pair: Pair, side: Side, other: Side): Promise<void> {
  const status = randomUUID();
  const [phone] = other.devices;
  await phone?.send(xml('presence', {}, xml('status', {}, status)));
  await bothWays(pair);
  for (const device of side.devices) expect(device.inbox.filter(hasStatus(status)).map(String)).toEqual([]);
}

function hasStatus(status: string): (stanza: Element) => boolean {
  return (stanza) => stanza.name === 'presence' && stanza.getChildText('status') === status;
}

/**
 * All that the servers had for each other and for these clients has come: a message on the way of everything else from
 * each device to each of the other side, there and back again, since the first may set the other server going.
 */
export async function bothWays({ alice, bob }: Pair): Promise<void> {
  for (const [from, to] of [
    [alice, bob],
    [bob, alice],
    [alice, bob],
  ] as const) {
    for (const sender of from.devices) {
      for (const receiver of to.devices) {
        const body = randomUUID();
        await sender.send(message(receiver.jid, body));
        await receiver.take('the marker', hasBody(body));
      }
    }
  }
  for (const device of [...alice.devices, ...bob.devices]) await device.settle();
}

/** The roster of each device of one side, asked for anew. */
export async function rostersOf(side: Side): Promise<ShownItem[][]> {
  return Promise.all(side.devices.map(async (device) => itemsIn(await device.ask('get', rosterQuery()))));
}

/** What is left of pushes and presence in the inboxes of one side, those of the side's own devices left out. */
export function leftIn(side: Side): string[] {
  const isOwn = (stanza: Element): boolean => stanza.attrs['from']?.startsWith(`${side.user}/`) ?? false;
  return side.devices.flatMap(({ inbox }) =>
    inbox.filter((stanza) => isPush(stanza) || (stanza.name === 'presence' && !isOwn(stanza))).map(String),
  );
}
