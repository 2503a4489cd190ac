/** Which answer a user's roster ends with, whatever order the answers come in and whatever fails in between. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { itemsIn, pushed, rosterQuery, startLiveRosterScene, told } from '../live-roster-scene.ts';
import type { Item, LiveRosterScene, LiveRosterSceneOptions } from '../live-roster-scene.ts';
import type { Answer, Asked } from '../responder.ts';
import type { TestClient } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';

export function orderRosters(kind: RosterKind): void {
  const named = (name: string): Item => ({ jid: 'bob@elsewhere.test', subscription: 'none', name, groups: [] });
  const alice = 'alice@localhost';

  /** An answer that is made and sent when the test says so. */
  interface Held {
    readonly asked: Asked;
    send(answer: Answer): void;
  }

  /** From now on nothing is answered by itself. */
  function holdAnswers(scene: LiveRosterScene): Held[] {
    const held: Held[] = [];
    scene.responder.on('roster-refresh', (asked) => new Promise((send) => held.push({ asked, send })));
    return held;
  }

  function answerAgain(scene: LiveRosterScene): void {
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
  }

  async function names(client: TestClient): Promise<(string | undefined)[]> {
    return itemsIn(await client.ask('get', rosterQuery)).map(({ name }) => name);
  }

  describe('answers of a worker', () => {
    let scene: LiveRosterScene;
    let phone: TestClient;

    beforeAll(async () => {
      scene = await startLiveRosterScene(kind);
    });

    afterAll(() => scene?.stop());

    beforeEach(async () => {
      answerAgain(scene);
      scene.hold(alice, named('old'));
      phone = await scene.logIn('alice');
    });

    afterEach(() => phone.stop());

    /** Says that the roster has another name in it, and waits until it has been asked for. */
    async function rename(name: string): Promise<void> {
      const count = scene.askedFor(alice).length;
      scene.hold(alice, named(name));
      await scene.change({ user: alice });
      await scene.untilAskedFor(alice, count + 1);
    }

    it('that come in the wrong order end with the newer', async () => {
      const held = holdAnswers(scene);
      await rename('first');
      const first = scene.answer({ operation: 'roster-refresh', users: [alice] });
      await rename('second');
      const [one, two] = held;
      two?.send(scene.answer(two.asked));
      expect(await pushed(phone)).toEqual(named('second'));
      one?.send(first);
      await phone.settle();
      answerAgain(scene);
      const { older } = await scene.stats();
      expect(older).toBeGreaterThan(0);
      expect(told(phone)).toEqual([]);
      expect(await names(phone)).toEqual(['second']);
    });

    it('are never more than two for one user; what changes meanwhile is asked for behind them, once', async () => {
      const held = holdAnswers(scene);
      await rename('first');
      await rename('second');
      const count = scene.askedFor(alice).length;
      for (const name of ['third', 'fourth', 'fifth']) {
        scene.hold(alice, named(name));
        await scene.change({ user: alice });
      }
      const [one, two] = held;
      // The hook has heard of all: what its clients ask now comes behind.
      await scene.stats();
      expect(scene.askedFor(alice)).toHaveLength(count);
      one?.send({ failure: 'source-unavailable', text: '' });
      await scene.untilAskedFor(alice, count + 1);
      answerAgain(scene);
      held[2]?.send(scene.answer(held[2].asked));
      expect(await pushed(phone)).toEqual(named('fifth'));
      two?.send(scene.answer(two.asked, 1));
      await scene.stats();
      expect(scene.askedFor(alice)).toHaveLength(count + 1);
      expect(await scene.stats()).toMatchObject({ due: 0 });
    });

    it('that know less than the change are shown, and asked for once more', async () => {
      const before = scene.sequence;
      const held = holdAnswers(scene);
      await rename('halfway');
      const count = scene.askedFor(alice).length;
      held[0]?.send(scene.answer(held[0].asked, before));
      expect(await pushed(phone)).toEqual(named('halfway'));
      expect(await scene.stats()).toMatchObject({ due: 1 });
      scene.hold(alice, named('whole'));
      answerAgain(scene);
      for (const { asked, send } of held.slice(1)) send(scene.answer(asked));
      await scene.untilAskedFor(alice, count + 1);
      expect(await pushed(phone)).toEqual(named('whole'));
      expect(await scene.stats()).toMatchObject({ due: 0 });
    });

    const failures: [string, (asked: Asked) => Answer][] = [
      ['its source is gone', () => ({ failure: 'source-unavailable', text: '' })],
      ['it is overloaded', () => ({ failure: 'overloaded', text: '' })],
      ['this roster failed', () => ({ status: 'error', rosters: {}, failed: { [alice]: 'source-unavailable' } })],
      ['it says rubbish', () => new Uint8Array([0xc1])],
      ['it answers another question', (asked) => ({ ...(scene.answer(asked) as object), id: 'another' })],
    ];

    it.each(failures)(
      'that do not come because %s cost nobody his roster, and it is asked for again',
      async (_what, fail) => {
        const { retries = 0 } = await scene.stats();
        scene.responder.on('roster-refresh', fail);
        await rename('new');
        const count = scene.askedFor(alice).length;
        await phone.settle();
        expect(told(phone)).toEqual([]);
        answerAgain(scene);
        expect(await pushed(phone)).toEqual(named('new'));
        expect(scene.askedFor(alice)).toHaveLength(count + 1);
        expect(await scene.stats()).toMatchObject({ due: 0, retries: retries + 1 });
      },
    );

    it('are asked for again when the worker says so', async () => {
      scene.responder.on('roster-refresh', (asked) => ({ ...(scene.answer(asked) as object), again_ms: 100 }));
      await rename('as the replica has it');
      expect(await pushed(phone)).toEqual(named('as the replica has it'));
      scene.hold(alice, named('as the primary has it'));
      answerAgain(scene);
      expect(await pushed(phone)).toEqual(named('as the primary has it'));
    });

    it('that are asked for because numbers were missed are for everybody', async () => {
      const other = await scene.logIn('carol');
      const counts = [scene.askedFor(alice).length, scene.askedFor('carol@localhost').length] as const;
      scene.hold(alice, named('missed'));
      await scene.skip();
      expect(await pushed(phone)).toEqual(named('missed'));
      await scene.untilAskedFor('carol@localhost', counts[1] + 1);
      expect(scene.askedFor(alice)).toHaveLength(counts[0] + 1);
      await other.settle();
      expect(told(other)).toEqual([]);
      await other.stop();
    });

    it('nothing in all this went wrong inside the server', () => {
      expect(scene.server.output()).not.toMatch(kind.crashed);
    });
  });

  describe('with many users online', () => {
    const many = 60;
    const bound = 16;
    let scene: LiveRosterScene;
    let clients: TestClient[];
    const user = (n: number): string => `user${n}@localhost`;

    async function start(options: LiveRosterSceneOptions = {}): Promise<void> {
      scene = await startLiveRosterScene(kind, options);
      for (let n = 0; n < many; n += 1) scene.hold(user(n), named('old'));
      clients = [];
      for (let n = 0; n < many; n += 1) clients.push(await scene.logIn(`user${n}`));
    }

    afterEach(() => scene?.stop());

    /** Answers a little later. @returns the most questions that were ever open at once */
    function watch(): () => number {
      let open = 0;
      let most = 0;
      scene.responder.on('roster-refresh', async (asked) => {
        open += 1;
        most = Math.max(most, open);
        await new Promise((resolve) => setTimeout(resolve, 20));
        open -= 1;
        return scene.answer(asked);
      });
      return () => most;
    }

    it.each([
      ['with JetStream', true],
      ['without JetStream', false],
    ])(
      'a broker that is killed and comes back empties nobody’s roster, and all are asked for, so many at once: %s',
      async (_what, jetstream) => {
        await start({ jetstream });
        const asked = new Map(clients.map((_, n) => [n, scene.askedFor(user(n)).length]));
        await scene.broker.kill();
        await scene.server.waitForOutput(/Lost the connection to NATS/);
        expect(await names(clients[0] as TestClient)).toEqual(['old']);
        const most = watch();
        for (let n = 0; n < many; n += 2) scene.hold(user(n), named('new'));
        await scene.broker.restart();
        for (const [n, count] of asked) await scene.untilAskedFor(user(n), count + 1);
        for (const [n, client] of clients.entries()) {
          if (n % 2 === 0) expect(await pushed(client)).toEqual(named('new'));
          await client.settle();
          expect(told(client)).toEqual([]);
        }
        expect(most()).toBeGreaterThan(1);
        expect(most()).toBeLessThanOrEqual(bound);
        expect(scene.server.output()).not.toMatch(kind.crashed);
      },
    );

    it('a change of all is asked for by so many at once, and one of a single user does not wait for it', async () => {
      await start();
      const held: Held[] = holdAnswers(scene);
      await scene.change({ operation: 'roster-refresh' });
      const before = scene.responder.of('roster-refresh').length;
      await scene.responder.untilAsked('roster-refresh', before + bound - held.length);
      // All of them are in line by now, or will be behind.
      const last = user(many - 1);
      while (held.length < bound) await scene.responder.untilAsked('roster-refresh', many + held.length + 1);
      scene.hold(last, named('mine'));
      await scene.change({ user: last });
      expect(held).toHaveLength(bound);
      let answered = 0;
      const isAsked = (): boolean => held.some(({ asked }) => (asked['users'] as string[])[0] === last);
      while (!isAsked()) {
        held[answered]?.send(scene.answer((held[answered] as Held).asked));
        answered += 1;
        await scene.responder.untilAsked('roster-refresh', many + bound + answered);
      }
      expect(answered).toBeLessThanOrEqual(bound);
      for (const one of held) one.send(scene.answer(one.asked));
      answerAgain(scene);
      expect(await pushed(clients.at(-1) as TestClient)).toEqual(named('mine'));
    });
  });

  describe('without JetStream', () => {
    let scene: LiveRosterScene;

    beforeAll(async () => {
      scene = await startLiveRosterScene(kind, { jetstream: false });
    });

    afterAll(() => scene?.stop());

    it('changes are heard of, and the later asked for is the newer', async () => {
      scene.hold(alice, named('old'));
      const phone = await scene.logIn('alice');
      const held = holdAnswers(scene);
      scene.hold(alice, named('first'));
      await scene.change({ user: alice });
      await scene.untilAskedFor(alice, 2);
      const first = scene.answer({ operation: 'roster-refresh', users: [alice] });
      scene.hold(alice, named('second'));
      await scene.change({ user: alice });
      await scene.untilAskedFor(alice, 3);
      held[1]?.send(scene.answer((held[1] as Held).asked));
      expect(await pushed(phone)).toEqual(named('second'));
      held[0]?.send(first);
      answerAgain(scene);
      await scene.stats();
      expect(told(phone)).toEqual([]);
      expect(await names(phone)).toEqual(['second']);
      expect(scene.askedFor(alice).map((asked) => asked['min_seq'])).toEqual([0, 0, 0]);
    });
  });
}
