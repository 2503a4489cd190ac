/** Rosters that change while sessions come, go, sleep and wake, and while the hook is restarted under them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isPresence, isPush, itemsIn, pushed, rosterQuery, startLiveRosterScene } from '../live-roster-scene.ts';
import type { Item, LiveRosterScene } from '../live-roster-scene.ts';
import { named, openStream } from '../raw-xmpp.ts';
import type { Answer } from '../responder.ts';
import { errorOf, xml } from '../xmpp-client.ts';
import type { TestClient } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';

export function keepRostersOfSessions(kind: RosterKind): void {
  let scene: LiveRosterScene;
  const clients: TestClient[] = [];
  let names = 0;
  let name: string;
  let user: string;

  beforeAll(async () => {
    scene = await startLiveRosterScene(kind, {
      furtherHosts: [{ host: 'sleepy.test', resumption: true }],
    });
  });

  afterAll(() => scene?.stop());

  beforeEach(() => {
    names += 1;
    name = `user${names}`;
    user = `${name}@localhost`;
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
  });

  const contact = (jid: string): Item => ({ jid, subscription: 'none', groups: [] });
  const old = contact('old@elsewhere.test');
  const fresh = contact('fresh@elsewhere.test');

  async function logIn(resource?: string): Promise<TestClient> {
    const client = await scene.logIn(name, resource);
    clients.push(client);
    return client;
  }

  async function become(...items: Item[]): Promise<void> {
    scene.hold(user, ...items);
    await scene.change({ user });
  }

  describe('a session', () => {
    it('that sleeps is told when it is resumed, and what happened meanwhile is not lost', async () => {
      const sleeper = `${name}@sleepy.test`;
      scene.hold(sleeper, old);
      await scene.server.register(name, 'sleepy.test');
      const stream = await openStream(scene.server.port, 'sleepy.test');
      await stream.authenticate(name);
      await stream.bind('phone');
      stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
      const enabled = await stream.take('enabled', named('enabled'));
      stream.write(`<iq type='get' id='r'>${String(rosterQuery)}</iq><presence/>`);
      await stream.take('the roster', ({ attrs }) => attrs['id'] === 'r');
      await stream.take('its own presence', named('presence'));
      stream.vanish();
      const watcher = await scene.logIn(name, 'watcher', 'sleepy.test');
      clients.push(watcher);
      scene.hold(sleeper, fresh);
      await scene.change({ user: sleeper });
      await pushed(watcher);
      await pushed(watcher);
      const again = await openStream(scene.server.port, 'sleepy.test');
      await again.authenticate(name);
      again.write(`<resume xmlns='urn:xmpp:sm:3' h='2' previd='${enabled.attrs['id'] ?? ''}'/>`);
      await again.take('resumed', named('resumed'));
      const pushes = [await again.take('a push', isPush), await again.take('a push', isPush)];
      expect(
        pushes
          .flatMap(itemsIn)
          .map(({ jid, subscription }) => [jid, subscription])
          .toSorted(),
      ).toEqual([
        [fresh.jid, 'none'],
        [old.jid, 'remove'],
      ]);
      scene.hold(sleeper, old);
      await scene.change({ user: sleeper });
      await again.take('a push', isPush);
      again.write('</stream:stream>');
    });

    it('that has gone while it was asked for loses nothing, and the next one begins with what was answered', async () => {
      scene.hold(user, old);
      const phone = await logIn();
      let send: ((answer: Answer) => void) | undefined;
      scene.responder.on('roster-refresh', () => new Promise((resolve) => (send = resolve)));
      await become(fresh);
      await scene.untilAskedFor(user, 2);
      await phone.stop();
      send?.(scene.answer({ operation: 'roster-refresh', users: [user] }));
      await scene.stats();
      scene.responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));
      const tablet = await logIn();
      expect(itemsIn(await tablet.ask('get', rosterQuery))).toEqual([fresh]);
    });

    it('is served the newer roster though an older one is still to come from before it', async () => {
      const held: ((answer: Answer) => void)[] = [];
      scene.hold(user, old);
      const phone = await logIn();
      scene.responder.on('roster-refresh', () => new Promise((resolve) => held.push(resolve)));
      await scene.change({ user });
      await scene.untilAskedFor(user, 2);
      const before = scene.answer({ operation: 'roster-refresh', users: [user] });
      await phone.stop();
      scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
      scene.hold(user, fresh);
      const tablet = await logIn();
      held[0]?.(before);
      await scene.stats();
      expect(itemsIn(await tablet.ask('get', rosterQuery))).toEqual([fresh]);
    });

    it('leaves nothing behind when it was the last', async () => {
      const { online = 0 } = await scene.stats();
      const [phone, tablet] = [await logIn('phone'), await logIn('tablet')];
      expect(await scene.stats()).toMatchObject({ online: online + 1 });
      await phone.stop();
      expect(await scene.stats()).toMatchObject({ online: online + 1 });
      await tablet.stop();
      expect(await scene.stats()).toMatchObject({ online, due: 0 });
    });

    it('that got an error for its roster is served once there is one, without asking the worker again', async () => {
      scene.responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));
      const phone = await scene.server.connect(name, { presence: false });
      clients.push(phone);
      expect(errorOf(await phone.ask('get', rosterQuery))).toMatchObject({ type: 'wait' });
      await phone.send(xml('presence'));
      scene.hold(user, { ...fresh, subscription: 'to' });
      scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
      const count = scene.askedFor(user).length;
      await scene.untilAskedFor(user, count + 1);
      // Nobody told it, since it has not got a roster; but its contact's server was asked for presence, and is none.
      await phone.take('an error of the probe', isPresence(fresh.jid, 'error'));
      const asked = scene.askedFor(user).length;
      expect(itemsIn(await phone.ask('get', rosterQuery))).toMatchObject([{ jid: fresh.jid }]);
      expect(scene.askedFor(user)).toHaveLength(asked);
    });
  });

  describe('a reload with users online', () => {
    it('knows who is online, asks what it may have missed, and goes on telling', async () => {
      scene.hold(user, old);
      const phone = await logIn();
      const asked = scene.askedFor(user).length;
      scene.hold(user, old, contact('missed@elsewhere.test'));
      await kind.restartHook(scene.server);
      expect(await pushed(phone)).toEqual(contact('missed@elsewhere.test'));
      expect(scene.askedFor(user)).toHaveLength(asked + 1);
      await become(old);
      expect(await pushed(phone)).toMatchObject({ subscription: 'remove' });
      await phone.stop();
      const { online } = await scene.stats();
      expect(online).toBe(0);
    });

    it('takes nothing that was asked for before it', async () => {
      scene.hold(user, old);
      const phone = await logIn();
      const held: ((answer: Answer) => void)[] = [];
      scene.responder.on('roster-refresh', () => new Promise((resolve) => held.push(resolve)));
      await scene.change({ user });
      await scene.untilAskedFor(user, 2);
      const before = scene.answer({ operation: 'roster-refresh', users: [user] });
      scene.hold(user, fresh);
      scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
      await kind.restartHook(scene.server);
      await pushed(phone);
      await pushed(phone);
      held[0]?.(before);
      await scene.stats();
      expect(itemsIn(await phone.ask('get', rosterQuery))).toEqual([fresh]);
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
