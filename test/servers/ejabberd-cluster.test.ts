/** Two nodes of one ejabberd cluster: each remembers for itself, and a change reaches both. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Announcement } from '../../src/nats/members.ts';
import { json } from './application.ts';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { nearCachePolicy } from './near-cache-pair.ts';
import { send, startNearCacheScene } from './near-cache-scene.ts';
import type { NearCacheScene } from './near-cache-scene.ts';
import type { ServerKind } from './server-kind.ts';
import { enterRoom, errorOf, joinOf } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

let scene: NearCacheScene;
let nodes: Ejabberd[];
/** One user with a session on each node. */
let alice: [TestClient, TestClient];
/** On the second node. */
let bob: TestClient;
let names = 0;

const denied = { type: 'auth', condition: 'registration-required', text: 'Only members' };
const deny = { verdict: 'deny', error: denied, scope: 'pair' };

beforeAll(async () => {
  nodes = [];
  const node: ServerKind = {
    ...ejabberdKind,
    start: async (options) => {
      const [cluster] = nodes;
      const started = await startEjabberd({ ...options, codePaths: [await buildHook()], ...(cluster && { cluster }) });
      nodes.push(started);
      return started;
    },
  };
  const { serverName: _eachHasItsOwn, ...policy } = nearCachePolicy;
  scene = await startNearCacheScene([node, node], { policy });
});

afterAll(() => scene?.stop());

beforeEach(async () => {
  scene.application.answer(json({ verdict: 'allow', scope: 'pair' }));
  names += 1;
  const [first, second] = nodes as [Ejabberd, Ejabberd];
  alice = [await first.connect(`alice${names}`), await second.connect(`alice${names}`)];
  bob = await second.connect(`bob${names}`);
  // The first question is also the first hit's proof, on each node.
  await scene.untilRemembered(async () => {
    for (const one of alice) await send(one, bob);
  });
});

/** How many questions these cost. */
async function costOf(work: () => Promise<unknown>): Promise<number> {
  const before = await scene.asked();
  await work();
  return (await scene.asked()) - before;
}

describe('a cluster of two ejabberds', () => {
  it('has a near cache on each node: what one was told, the other asks for once', async () => {
    const [first, second] = nodes as [Ejabberd, Ejabberd];
    const [carol, dora] = [await first.connect(`carol${names}`), await second.connect(`carol${names}`)];
    expect(await costOf(() => send(carol, bob))).toBe(1);
    expect(await costOf(() => send(carol, bob))).toBe(0);
    expect(await costOf(() => send(dora, bob))).toBe(1);
    expect(await costOf(() => send(dora, bob))).toBe(0);
  });

  it('is cleared on both nodes by one flush, which names both as having seen it', async () => {
    scene.application.answer(json(deny));
    const { code, stdout } = await scene.warder('flush', 'user', bob.bare, '--wait', '--json');
    expect(code).toBe(0);
    const { reported } = JSON.parse(stdout) as { reported: Announcement[] };
    const hooks = reported.filter(({ kind }) => kind === 'hook').map(({ name }) => name);
    expect(hooks.toSorted()).toEqual(nodes.map(({ node }) => node).toSorted());
    for (const one of alice) expect(await send(one, bob)).toEqual(denied);
  });

  it('asks once about who enters a room of the other node, wherever he is', async () => {
    const room = `hall${names}@rooms.localhost`;
    await enterRoom(alice[0], room, 'alice');
    expect(await costOf(() => enterRoom(bob, room, 'bob'))).toBe(1);
    scene.application.answer(json({ ...deny, scope: 'none' }));
    await scene.warder('flush', 'room', room, '--wait');
    const carol = await (nodes[1] as Ejabberd).connect(`carol${names}`);
    const presence = joinOf(room, 'carol');
    await carol.send(presence);
    expect(errorOf(await carol.reply(presence.attrs['id'] ?? ''))).toEqual(denied);
  });

  it('is named as silent when one of its nodes stands still, while the other serves what is true now', async () => {
    const [first, second] = nodes as [Ejabberd, Ejabberd];
    await second.pause();
    scene.application.answer(json(deny));
    const { code, stdout } = await scene.warder('flush', 'user', alice[0].bare, '--wait', '--json');
    second.resume();
    expect(code).toBe(0);
    const { reported, silent } = JSON.parse(stdout) as { reported: Announcement[]; silent: Announcement[] };
    expect(reported.filter(({ kind }) => kind === 'hook')).toMatchObject([{ name: first.node }]);
    expect(silent).toMatchObject([{ name: second.node }]);
    for (const one of alice) expect(await send(one, bob)).toEqual(denied);
  });

  it('nothing in all this went wrong inside it', () => {
    for (const node of nodes) expect(node.output()).not.toMatch(ejabberdKind.crashed);
  });
});
