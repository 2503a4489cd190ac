/** Accounts that are deleted at a real server: told until it is acknowledged, whatever fails meanwhile. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import { startResponder } from '../responder.ts';
import type { Asked, Responder } from '../responder.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function tellRemovals(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;

  beforeAll(async () => {
    scene = await startSceneOn(kind, {
      policy: { checks: ['user-removed'], timeoutsMs: { 'user-removed': 200, 'roster-refresh': 30_000 } },
      furtherHosts: [{ host: 'rosters.test', policy: { roster: true } }],
    });
    ({ responder } = scene);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => responder.reset());

  async function remove(username: string, domain = 'localhost'): Promise<void> {
    await scene.server.register(username, domain);
    await scene.server.unregister(username, domain);
  }

  function toldOf(user: string): readonly Asked[] {
    return responder.of('user-removed').filter((asked) => asked['user'] === user);
  }

  /** Resolves when an account was told of so many times. */
  async function untilTold(user: string, count: number): Promise<readonly Asked[]> {
    for (let asked = count; toldOf(user).length < count; asked += 1) await responder.untilAsked('user-removed', asked);
    return toldOf(user);
  }

  /** What is told of other accounts meanwhile would be told by the end of it. */
  async function untilAllIsTold(): Promise<void> {
    responder.on('user-removed', ({ user }) =>
      user === 'marker@localhost' && toldOf('marker@localhost').length < 3
        ? { failure: 'overloaded', text: '' }
        : { forgotten: true },
    );
    await remove('marker');
    await untilTold('marker@localhost', 3);
    await scene.server.waitForOutput(/user-removed: marker@localhost/);
  }

  describe('an account that is deleted', () => {
    it('is told once when that is acknowledged, and not again after a restart', async () => {
      await remove('anna');
      const [told] = await untilTold('anna@localhost', 1);
      expect(String(told?.['id']).length).toBeGreaterThanOrEqual(22);
      await scene.server.waitForOutput(/user-removed: anna@localhost/);
      await scene.server.killAndRestart();
      await scene.server.waitForOutput(/Connected to NATS/);
      await untilAllIsTold();

      expect(toldOf('anna@localhost')).toHaveLength(1);
    });

    const troubles: [string, Record<string, unknown> | undefined][] = [
      ['nobody answers', undefined],
      ['the workers fail', { failure: 'source-unavailable', text: '' }],
      ['the answer is rubbish', { forgotten: 'yes' }],
    ];

    it.each(troubles)('is told again with the same id while %s, until it is acknowledged', async (what, answer) => {
      const username = what.replaceAll(' ', '');
      const user = `${username}@localhost`;
      responder.on('user-removed', () => (toldOf(user).length < 2 ? answer : { forgotten: true }));
      await remove(username);
      const told = await untilTold(user, 2);

      expect(new Set(told.map(({ id }) => id)).size).toBe(1);
      await scene.server.waitForOutput(new RegExp(`user-removed: ${user}`));
    });

    it('is told when the workers are back', async () => {
      await responder.stop();
      await remove('berta');
      await scene.server.waitForOutput(/user-removed failed: no-responders, so: told again/);
      responder = await startResponder(scene.broker.url);

      await untilTold('berta@localhost', 1);
    });

    it('is told with the same id after the server was killed', async () => {
      responder.on('user-removed', () => undefined);
      await Promise.all(['carla', 'dora'].map((username) => remove(username)));
      const before = await Promise.all(['carla', 'dora'].map((username) => untilTold(`${username}@localhost`, 1)));
      await scene.server.killAndRestart();
      responder.reset();
      const after = await Promise.all(['carla', 'dora'].map((username) => untilTold(`${username}@localhost`, 1)));

      const ids = (told: typeof before): unknown[] => told.map(([first]) => first?.['id']);
      expect(ids(after)).toEqual(ids(before));
      expect(new Set(ids(after)).size).toBe(2);
    });

    it('is given up, with an error in the log, when the worker cannot read it', async () => {
      responder.on('user-removed', () => ({ failure: 'bad-request', text: '' }));
      await remove('emil');
      await scene.server.waitForOutput(/user-removed of emil@localhost failed for good: bad-request/);
      await scene.server.killAndRestart();
      await scene.server.waitForOutput(/Connected to NATS/);
      await untilAllIsTold();

      expect(toldOf('emil@localhost')).toHaveLength(1);
    });
  });

  describe('an account that is made again before its removal was told', () => {
    it('is let in only when it was, where rosters are kept elsewhere', async () => {
      responder.on('user-removed', () => ({ failure: 'source-unavailable', text: '' }));
      await remove('frida', 'rosters.test');
      await untilTold('frida@rosters.test', 1);
      await expect(scene.server.connect('frida', { domain: 'rosters.test', presence: false })).rejects.toThrow(
        /resource-constraint/,
      );
      expect(responder.of('roster-refresh')).toEqual([]);
      responder.on('user-removed', () => ({ forgotten: true }));
      const before = toldOf('frida@rosters.test').length;
      // Another try is made for it at once, out of turn.
      const frida = await scene.server.connect('frida', { domain: 'rosters.test' });

      expect(frida.bare).toBe('frida@rosters.test');
      expect(toldOf('frida@rosters.test').length).toBeGreaterThanOrEqual(before);
      expect(new Set(toldOf('frida@rosters.test').map(({ id }) => id)).size).toBe(1);
    });

    it('is let in where they are not', async () => {
      responder.on('user-removed', () => ({ failure: 'source-unavailable', text: '' }));
      await remove('gerda');
      await untilTold('gerda@localhost', 1);

      expect((await scene.server.connect('gerda')).bare).toBe('gerda@localhost');
      responder.reset();
      await untilTold('gerda@localhost', 1);
    });
  });

  it(`nothing in all this went wrong inside ${kind.name}`, () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
