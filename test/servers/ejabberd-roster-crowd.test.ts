/**
 * A thousand users online at one ejabberd, and what makes all of their rosters due at once: no more than a node may ask for
 * at once is asked for, a single change is seen meanwhile, and no client ever loses a contact that it has.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startCrowd } from './crowd.ts';
import type { Crowd } from './crowd.ts';
import { startLiveRosterScene } from './live-roster-scene.ts';
import type { LiveRosterScene } from './live-roster-scene.ts';
import { ejabberdRosters } from './roster-kind.ts';

/** Against hangs only: a busy machine takes its time. */
const hangMs = 300_000;
vi.setConfig({ testTimeout: hangMs });

const size = 1_000;
/** Of a node. */
const bound = 16;

let scene: LiveRosterScene;
let crowd: Crowd;

const usernames = Array.from({ length: size }, (_, index) => `user${index}`);
const jidOf = (index: number): string => `user${(index + size) % size}@localhost`;

/** Each knows the one on either side of him. */
function hold(index: number, name: string): void {
  scene.hold(
    jidOf(index),
    { jid: jidOf(index - 1), subscription: 'both', name: 'Friend' },
    { jid: jidOf(index + 1), subscription: 'both', name },
  );
}

beforeAll(async () => {
  scene = await startLiveRosterScene(ejabberdRosters);
  for (const index of usernames.keys()) hold(index, 'Friend');
  const name = `<<"user", (integer_to_binary(N))/binary>>`;
  await scene.server.shell(
    `[ejabberd_auth:try_register(${name}, <<"localhost">>, ${name}) || N <- lists:seq(0, ${size - 1})], ok`,
  );
  crowd = await startCrowd({ port: scene.server.port, domain: 'localhost', usernames });
}, hangMs);

afterAll(async () => {
  crowd?.stop();
  await scene?.stop();
});

const isShown = (index: number, name: string): boolean => crowd.members[index]?.roster.get(jidOf(index + 1)) === name;

/** @returns the most questions that were open at once since then */
function watch(): () => number {
  let open = 0;
  let most = 0;
  scene.responder.on('roster-refresh', async (asked) => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((resolve) => setTimeout(resolve, 1));
    open -= 1;
    return scene.answer(asked);
  });
  return () => most;
}

function expectNobodyLost(): void {
  expect(crowd.members.filter(({ isGone }) => isGone).map(({ username }) => username)).toEqual([]);
  expect(crowd.members.filter(({ removals }) => removals > 0).map(({ username }) => username)).toEqual([]);
  expect(crowd.members.filter(({ roster }) => roster.size !== 2).map(({ username }) => username)).toEqual([]);
}

it('a change of all rosters is seen by everybody whom it touches, and one of a single user does not wait for it', async () => {
  const most = watch();
  for (const index of usernames.keys()) if (index % 10 === 0) hold(index, 'Renamed');
  const asked = scene.responder.of('roster-refresh').length;
  await scene.change({ operation: 'roster-refresh' });
  hold(1, 'Mine');
  await scene.change({ user: jidOf(1) });
  await crowd.until('the single change is shown', () => isShown(1, 'Mine'));
  expect(scene.responder.of('roster-refresh').length - asked).toBeLessThan(size);
  await crowd.until('the renamed are shown', () => usernames.every((_, n) => n % 10 > 0 || isShown(n, 'Renamed')));
  await scene.responder.untilAsked('roster-refresh', asked + size);
  expect(most()).toBeLessThanOrEqual(bound);
  expectNobodyLost();
});

it('a broker that is killed and comes back takes nothing from anybody, and what was missed is seen', async () => {
  await scene.broker.kill();
  await scene.server.waitForOutput(/Lost the connection to NATS/);
  const most = watch();
  for (const index of usernames.keys()) if (index % 10 === 5) hold(index, 'Missed');
  await scene.broker.restart();
  await crowd.until('what was missed is shown', () => usernames.every((_, n) => n % 10 !== 5 || isShown(n, 'Missed')));
  expect(most()).toBeLessThanOrEqual(bound);
  expectNobodyLost();
});

it('who leaves leaves nothing behind', async () => {
  expect(await scene.stats()).toMatchObject({ online: size });
  crowd.stop();
  const left = `[
    maps:get(online, mod_warder_roster_refresh:stats(<<"localhost">>)),
    proplists:get_value(active, supervisor:count_children(mod_warder_roster_users)),
    ets:info(mod_warder_roster_state, size)]`;
  // They end by themselves, one after the other.
  await scene.server.shell(`(fun Look() -> ${left} =:= [0, 0, 0] orelse begin timer:sleep(20), Look() end end)()`);
  expect(scene.server.output()).not.toMatch(ejabberdRosters.crashed);
});
