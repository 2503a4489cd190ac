/** Prosody and ejabberd behind the same workers: the same answers, and one flush changes both. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Announcement } from '../../src/nats/members.ts';
import { json } from './application.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { nearCachePolicy } from './near-cache-pair.ts';
import { send, startNearCacheScene } from './near-cache-scene.ts';
import type { NearCacheScene } from './near-cache-scene.ts';
import { prosodyKind } from './prosody-kind.ts';
import { errorOf, joinOf } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

let scene: NearCacheScene;
/** The same two users on each of the servers. */
let pairs: readonly (readonly [alice: TestClient, bob: TestClient])[];
let names = 0;

const denied = { type: 'auth', condition: 'registration-required', text: 'Only members' };
const deny = { verdict: 'deny', error: denied, scope: 'pair' };

beforeAll(async () => {
  const { serverName: _eachHasItsOwn, ...policy } = nearCachePolicy;
  scene = await startNearCacheScene([prosodyKind, ejabberdKind], { policy, workers: 2 });
});

afterAll(() => scene?.stop());

beforeEach(async () => {
  scene.application.answer(json({ verdict: 'allow', scope: 'pair' }));
  names += 1;
  pairs = await Promise.all(
    scene.servers.map(
      async (server) => [await server.connect(`alice${names}`), await server.connect(`bob${names}`)] as const,
    ),
  );
});

const onEach = (work: (alice: TestClient, bob: TestClient) => Promise<unknown>): Promise<unknown[]> =>
  Promise.all(pairs.map(([alice, bob]) => work(alice, bob)));

async function untilBothRemember(): Promise<void> {
  for (const [alice, bob] of pairs) await scene.untilRemembered(() => send(alice, bob));
}

describe('Prosody and ejabberd behind the same workers', () => {
  it('say the same, at once and from memory', async () => {
    scene.application.answer(json(deny));
    expect(await onEach(send)).toEqual([denied, denied]);
    await untilBothRemember();
    const before = await scene.asked();
    expect(await onEach(send)).toEqual([denied, denied]);
    expect(await scene.asked()).toBe(before);
  });

  it('change what they say by one flush of a user, which both have seen when it returns', async () => {
    await untilBothRemember();
    scene.application.answer(json(deny));
    const { code, stdout } = await scene.warder('flush', 'user', `alice${names}@localhost`, '--wait', '--json');
    expect(code).toBe(0);
    const { reported } = JSON.parse(stdout) as { reported: Announcement[] };
    expect(reported.filter(({ kind }) => kind === 'hook')).toHaveLength(2);
    expect(reported.filter(({ kind }) => kind === 'worker')).toHaveLength(2);
    expect(await onEach(send)).toEqual([denied, denied]);
  });

  it('change what they say of a room by one flush of the room', async () => {
    const room = `hall${names}@rooms.localhost`;
    const join = async (client: TestClient): Promise<ReturnType<typeof errorOf> | undefined> => {
      const presence = joinOf(room, client.jid.split('@')[0] ?? '');
      await client.send(presence);
      await client.settle();
      const refused = client.inbox.find(
        ({ attrs }) => attrs['type'] === 'error' && attrs['id'] === presence.attrs['id'],
      );
      return refused && errorOf(refused);
    };
    scene.application.answer(json({ ...deny, scope: 'room' }));
    expect(await onEach((alice) => join(alice))).toEqual([denied, denied]);
    scene.application.answer(json({ verdict: 'allow', scope: 'room' }));
    await scene.warder('flush', 'room', room, '--wait');
    expect(await onEach((alice) => join(alice))).toEqual([undefined, undefined]);
  });

  it.each([
    ['everything', ['all']],
    ['a domain', ['domain', 'localhost']],
    ['an operation', ['operation', 'stanza-check']],
  ])('forget by one flush of %s', async (_what, scope) => {
    await untilBothRemember();
    scene.application.answer(json(deny));
    await scene.warder('flush', ...scope, '--wait');
    expect(await onEach(send)).toEqual([denied, denied]);
  });

  it('nothing in all this went wrong inside them', () => {
    const [prosody, ejabberd] = scene.servers.map((server) => server.output());
    expect(prosody).not.toMatch(prosodyKind.crashed);
    expect(ejabberd).not.toMatch(ejabberdKind.crashed);
  });
});
