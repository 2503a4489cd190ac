/** Which roster a refresh leaves in the memory of workers: never an older one, whatever the application answers when. */
import { afterEach, describe, expect, it } from 'vitest';
import { startRefreshScene } from './refresh-scene.ts';
import type { RefreshScene, RosterAnswer, SceneOptions } from './refresh-scene.ts';

const alice = 'alice@localhost';
let scene: RefreshScene;

afterEach(() => scene.stop());

async function start(options?: SceneOptions): Promise<void> {
  scene = await startRefreshScene(options);
  scene.application.put(alice, 'bob@localhost', { name: 'before' });
}

function nameIn({ rosters }: RosterAnswer): string | undefined {
  return rosters[alice]?.items[0]?.name;
}

describe.each([
  ['with numbered changes', true],
  ['without JetStream', false],
])('two refreshes of one user that overlap, %s', (_how, jetstream) => {
  it('end with the newer, however late the application answers the older', async () => {
    await start({ jetstream });
    const { application, push, ask } = scene;
    application.hold();
    const older = push([alice]);
    await application.untilHeld(alice);
    application.hold(() => false);
    application.put(alice, 'bob@localhost', { name: 'after' });
    expect(await push([alice])).toMatchObject({ status: 'ok', updated: 1 });
    expect(nameIn(await ask([alice], 'login'))).toBe('after');
    application.letGo();
    expect(await older).toMatchObject({ status: 'ok', updated: 1 });
    const login = await ask([alice], 'login');
    expect(nameIn(login)).toBe('after');
    expect(application.requests).toBe(2);
    expect(login.updated).toBe(0);
  });
});

describe('a question because of a change', () => {
  it('finds remembered what a refresh has fetched since', async () => {
    await start();
    const { application, push, ask, nextChangeOf, nats } = scene;
    const change = nextChangeOf(alice);
    await nats.flush();
    await push([alice]);
    const answer = await ask([alice], 'changed', await change);
    expect([nameIn(answer), answer.updated, application.requests]).toEqual(['before', 0, 1]);
    expect(answer.seq).toBeGreaterThanOrEqual(await change);
  });

  it('is not answered with what was remembered before that change', async () => {
    await start({ workers: 2 });
    const { application, ask, nextChangeOf, nats } = scene;
    for (let index = 0; index < 10; index += 1) await ask([alice], 'login');
    application.put(alice, 'bob@localhost', { name: 'after' });
    const change = nextChangeOf(alice);
    await nats.request('xmpp.policy.v1.invalidate', JSON.stringify({ v: 1, user: alice }));
    for (let index = 0; index < 10; index += 1) {
      const answer = await ask([alice], 'changed', await change);
      expect(nameIn(answer)).toBe('after');
      expect(answer.seq).toBeGreaterThanOrEqual(await change);
    }
  });

  it('goes to the application when it names no change', async () => {
    await start();
    const { application, ask } = scene;
    await ask([alice], 'login');
    application.put(alice, 'bob@localhost', { name: 'after' });
    expect(nameIn(await ask([alice], 'login'))).toBe('before');
    expect(nameIn(await ask([alice], 'changed'))).toBe('after');
    expect(application.requests).toBe(2);
  });

  it('goes to the application where no stream numbers the changes', async () => {
    await start({ jetstream: false });
    const { application, ask } = scene;
    await ask([alice], 'login');
    application.put(alice, 'bob@localhost', { name: 'after' });
    expect(nameIn(await ask([alice], 'changed', 1_800_000_000_000))).toBe('after');
    expect(application.requests).toBe(2);
  });
});

describe('an application that reads from replicas', () => {
  it('is asked again when they have had their time, and remembered only then', async () => {
    await start({ source: 'lag_ms: 3000,' });
    const { application, push, ask, nextChangeOf, nats } = scene;
    const change = nextChangeOf(alice);
    await nats.flush();
    await push([alice]);
    const early = await ask([alice], 'changed', await change);
    expect(early.again_ms).toBeGreaterThan(0);
    expect(early.again_ms).toBeLessThanOrEqual(3_001);
    expect(application.requests).toBe(2);
    // The replica has the change now.
    application.put(alice, 'bob@localhost', { name: 'after' });
    await new Promise((resolve) => setTimeout(resolve, early.again_ms));
    const late = await ask([alice], 'changed', await change);
    expect([nameIn(late), late.again_ms]).toEqual(['after', undefined]);
    expect(nameIn(await ask([alice], 'login'))).toBe('after');
    expect(application.requests).toBe(3);
  });
});
