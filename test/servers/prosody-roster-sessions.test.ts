/** Rosters while sessions come and go at a real Prosody. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepRostersOfSessions } from './behaviours/roster-sessions.ts';
import { pushed, startLiveRosterScene } from './live-roster-scene.ts';
import type { LiveRosterScene } from './live-roster-scene.ts';
import { prosodyRosters } from './roster-kind.ts';

keepRostersOfSessions(prosodyRosters);

describe('a host', () => {
  let scene: LiveRosterScene;

  beforeAll(async () => {
    scene = await startLiveRosterScene(prosodyRosters, { furtherHosts: [{ host: 'going.test' }] });
  });

  afterAll(() => scene?.stop());

  it('that is deactivated with users on it takes nothing with it', async () => {
    const client = await scene.logIn('alice', 'phone', 'going.test');
    const waiting = await scene.logIn('alice', 'tablet', 'going.test');
    scene.responder.on('roster-refresh', () => new Promise(() => undefined));
    await scene.change({ user: 'alice@going.test' });
    await scene.untilAskedFor('alice@going.test', 3);
    await scene.server.shell("host:deactivate('going.test')");
    await Promise.all([client.closed, waiting.closed]);
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
    const phone = await scene.logIn('bob');
    scene.hold('bob@localhost', { jid: 'fresh@elsewhere.test', subscription: 'none' });
    await scene.change({ user: 'bob@localhost' });
    expect(await pushed(phone)).toMatchObject({ jid: 'fresh@elsewhere.test' });
    expect(scene.server.output()).not.toMatch(prosodyRosters.crashed);
  });
});
