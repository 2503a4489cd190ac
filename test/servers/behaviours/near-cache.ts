/** What a hook remembers, and what makes it forget: a hit asks nobody. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Announcement } from '../../../src/nats/members.ts';
import { streamName } from '../../../src/nats/stream.ts';
import { json } from '../application.ts';
import { freePort } from '../free-port.ts';
import { nearCachePolicy as policy, usePair } from '../near-cache-pair.ts';
import type { NearCachePair } from '../near-cache-pair.ts';
import { send } from '../near-cache-scene.ts';
import type { NearCacheScene } from '../near-cache-scene.ts';
import type { ServerKind } from '../server-kind.ts';
import { enterRoom, errorOf, joinOf, message } from '../xmpp-client.ts';
import type { TestClient } from '../xmpp-client.ts';

const denied = { type: 'auth', condition: 'registration-required', text: 'Only members' };
const deny = { verdict: 'deny', error: denied, scope: 'pair' };

export function rememberAndForget(kind: ServerKind): void {
  let monitor: number;
  beforeAll(async () => void (monitor = await freePort()));
  const pair = usePair(kind, () => ({ nats: { jetstream: true, args: ['-m', String(monitor)] } }));
  let scene: NearCacheScene;
  let alice: TestClient;
  let bob: TestClient;
  let names: number;
  let costOf: NearCachePair['costOf'];
  beforeEach(() => void ({ scene, alice, bob, names, costOf } = pair()));

  interface Subscriptions {
    connections: { name?: string; subscriptions_list?: string[] }[];
  }

  async function subscriptions(): Promise<string[]> {
    const response = await fetch(`http://127.0.0.1:${monitor}/connz?subs=1`);
    const { connections } = (await response.json()) as Subscriptions;
    const [own, ...others] = connections.filter(({ name }) => name === `warder-${kind.name.toLowerCase()}`);
    expect(others).toEqual([]);
    return (own?.subscriptions_list ?? []).filter((subject) => !subject.startsWith('_INBOX.')).toSorted();
  }

  const followed = ['xmpp.policy.v1.invalidate', 'xmpp.policy.v1.invalidated'];

  describe('what is remembered', () => {
    it('is asked of nobody: no question on NATS, none to the worker, none to the application', async () => {
      expect(await costOf(() => send(alice, bob))).toBe(1);
      const { application } = scene;
      const asked = application.asked;
      const { hits = 0 } = await scene.stats();
      expect(await costOf(() => send(alice, bob))).toBe(0);
      expect(application.asked).toBe(asked);
      expect(await scene.stats()).toMatchObject({ hits: hits + 1 });
    });

    it('a denial says the same as the first time', async () => {
      scene.application.answer(json(deny));
      expect(await send(alice, bob)).toEqual(denied);
      expect(await costOf(async () => expect(await send(alice, bob)).toEqual(denied))).toBe(0);
    });

    it('a silent drop stays silent', async () => {
      scene.application.answer(json({ verdict: 'drop', scope: 'pair' }));
      const cost = await costOf(async () => {
        for (const body of ['one', 'two', 'three']) await alice.send(message(bob.bare, body));
        await alice.settle();
      });
      await bob.settle();
      expect(cost).toBe(1);
      expect([...alice.inbox, ...bob.inbox].map(String)).toEqual([]);
    });

    it('holds for every device where the answer is about bare JIDs, and for no other type of message', async () => {
      await send(alice, bob);
      const other = await scene.server.connect(`alice${names}`);
      expect(await costOf(() => send(other, bob))).toBe(0);
      const normal = message(bob.bare, 'normal', { type: 'normal' });
      expect(await costOf(() => alice.send(normal).then(() => alice.settle()))).toBe(1);
    });

    it('a join: the second of the same user to the same room', async () => {
      const room = `lobby${names}@${scene.server.rooms}`;
      await enterRoom(bob, room, 'bob');
      scene.application.answer(json({ verdict: 'deny', error: denied, scope: 'room' }));
      const join = async (nick: string): Promise<void> => {
        const presence = joinOf(room, nick);
        await alice.send(presence);
        expect(errorOf(await alice.reply(presence.attrs['id'] ?? ''))).toEqual(denied);
      };
      expect(await costOf(() => join('alice'))).toBe(1);
      expect(await costOf(() => join('alicia'))).toBe(0);
    });

    it.each([
      ['a scope of none', { verdict: 'allow', scope: 'none' }],
      ['no scope', { verdict: 'deny' }],
      ['an unknown scope', { verdict: 'deny', scope: 'planet' }],
      ['something for the recipient', { verdict: 'deny', scope: 'pair', notify: '<message><body>n</body></message>' }],
      ['a deferral', { verdict: 'defer', scope: 'pair' }],
      ['no time to live', { ...deny, ttl_ms: 0 }],
    ])('is not: %s', async (_what, answer) => {
      scene.application.answer(json(answer));
      expect(await costOf(() => send(alice, bob))).toBe(1);
      expect(await costOf(() => send(alice, bob))).toBe(1);
    });

    it('is not: the fallback of a worker whose source has failed', async () => {
      scene.application.answer((_request, response) => void response.writeHead(500).end());
      expect(await costOf(() => send(alice, bob))).toBe(1);
      expect(await costOf(() => send(alice, bob))).toBe(1);
    });
  });

  describe('a change', () => {
    it('by the command line with --wait: the hook is among those that have reported, and the next message is decided anew', async () => {
      await send(alice, bob);
      scene.application.answer(json(deny));
      const { code, stdout } = await scene.warder('flush', 'user', bob.bare, '--wait', '--json');
      expect(code).toBe(0);
      const { token, reported } = JSON.parse(stdout) as { token: number; reported: Announcement[] };
      const hooks = reported.filter((one) => one.kind === 'hook');
      expect(hooks).toMatchObject([{ name: 'node one', boot_id: expect.stringMatching(/^[0-9a-f]{24}$/) as unknown }]);
      expect(hooks[0]?.seen).toBeGreaterThanOrEqual(token);
      expect(await send(alice, bob)).toEqual(denied);
    });

    it('by a web request to a worker', async () => {
      await send(alice, bob);
      scene.application.answer(json(deny));
      const url = `${scene.worker.url}/mod_msg_filter/`;
      const response = await fetch(url, { method: 'POST', body: `<flush jid="${alice.bare}"/>` });
      const { token } = (await response.json()) as { token: number };
      await scene.untilSeen(token);
      expect(await send(alice, bob)).toEqual(denied);
    });

    it.each([
      ['of everything', ['all'], 1],
      ['of the domain', ['domain', 'localhost'], 1],
      ['of the operation', ['operation', 'stanza-check'], 1],
      ['of another operation', ['operation', 'join-check'], 0],
      ['of another domain', ['domain', 'localhost.localhost'], 0],
      ['of another user', ['user', 'zoe@localhost'], 0],
    ])('%s costs what it touches', async (_what, scope, cost) => {
      await send(alice, bob);
      await scene.warder('flush', ...scope, '--wait');
      expect(await costOf(() => send(alice, bob))).toBe(cost);
    });

    it('whose headers a publisher has forged moves nothing: the last value is the broker’s', async () => {
      await send(alice, bob);
      const { gaps, foreign } = await scene.stats();
      const before = scene.seen;
      const forged = [
        ['Nats-Stream', streamName('xmpp.policy.v1')],
        ['Nats-Sequence', '8999999999999999'],
      ] as const;
      await scene.publish('invalidate', JSON.stringify({ v: 1, user: 'zoe@localhost' }), forged);
      await scene.untilSeen(before + 1);
      expect(scene.seen).toBeLessThan(before + 1_000);
      expect(await scene.stats()).toMatchObject({ gaps, foreign });
      expect(await costOf(() => send(alice, bob))).toBe(0);
    });

    it('that claims to come from another stream is not believed', async () => {
      await send(alice, bob);
      const { foreign = 0 } = await scene.stats();
      const forged = [
        ['Nats-Stream', 'OTHER'],
        ['Nats-Sequence', '8999999999999999'],
      ] as const;
      await scene.publish('invalidated', JSON.stringify({ v: 1, all: true }), forged);
      await scene.publish('invalidated', JSON.stringify({ v: 1, all: true }));
      await scene.warder('flush', 'user', 'zoe@localhost', '--wait');
      expect(scene.seen).toBeLessThan(8_999_999_999_999_999);
      expect(await scene.stats()).toMatchObject({ foreign: foreign + 2 });
      expect(await costOf(() => send(alice, bob))).toBe(0);
    });

    it('that nobody can read ends everything', async () => {
      await send(alice, bob);
      await scene.publish('invalidate', 'rubbish');
      // Behind it in the one order of changes.
      await scene.warder('flush', 'user', 'zoe@localhost', '--wait');
      expect(await costOf(() => send(alice, bob))).toBe(1);
    });
  });

  describe('the hosts of one server', () => {
    it('share one subscription and one near cache, but for who wants none', async () => {
      expect(await subscriptions()).toEqual(followed);
      const domain = 'off.test';
      const [carol, dave] = [
        await scene.server.connect(`carol${names}`, { domain }),
        await scene.server.connect(`dave${names}`, { domain }),
      ];
      expect(await costOf(() => send(carol, dave))).toBe(1);
      expect(await costOf(() => send(carol, dave))).toBe(1);
    });

    it('take nothing from each other by a reload, nor from themselves', async () => {
      await send(alice, bob);
      await scene.server.reconfigure({ ...policy, notify: true });
      expect(await costOf(() => send(alice, bob))).toBe(0);
      expect(await subscriptions()).toEqual(followed);
    });

    it('with other options begin empty after a reload, and hold no more than they say', async () => {
      await send(alice, bob);
      await scene.server.reconfigure({ ...policy, nearCacheEntries: 4 });
      expect(await scene.stats()).toMatchObject({ entries: 0 });
      await scene.untilRemembered(() => send(alice, bob));
      for (let index = 0; index < 8; index += 1) await alice.send(message(`nobody${index}@localhost`, 'hello'));
      await alice.settle();
      const { entries = 0, evictions = 0 } = await scene.stats();
      expect(entries).toBeLessThanOrEqual(4);
      expect(evictions).toBeGreaterThanOrEqual(4);
    });

    it('leave nothing subscribed when the last that used it is unloaded, and follow again when loaded', async () => {
      await kind.unload(scene.server);
      while ((await subscriptions()).length > 0);
      await kind.load(scene.server);
      await scene.server.waitForOutput(/(Connected to NATS[^]*){2}/);
      await scene.untilRemembered(() => send(alice, bob));
      expect(await subscriptions()).toEqual(followed);
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
    expect(scene.server.output()).not.toMatch(/near cache failed/);
  });
}
