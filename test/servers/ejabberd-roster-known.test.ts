/** What an ejabberd still knows of rosters when nobody answers: after a restart, without the account, and without its file. */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { itemsIn, pushed, rosterQuery, startLiveRosterScene } from './live-roster-scene.ts';
import type { Item, LiveRosterScene } from './live-roster-scene.ts';
import { ejabberdRosters } from './roster-kind.ts';
import { errorOf } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';
import type { PolicyOptions } from './xmpp-server.ts';

const policy: PolicyOptions = { roster: true, checks: [], timeoutsMs: { 'roster-refresh': 30_000 } };
const tryAgain = { type: 'wait', condition: 'resource-constraint' };
const keeper = 'gen_mod:get_module_proc(<<"localhost">>, mod_warder_roster_known)';
const fileName = 'warder_rosters.localhost.dets';

let scene: LiveRosterScene;
const clients: TestClient[] = [];
let names = 0;
let alice: string;

const at = (username: string): string => `${username}@localhost`;
const carol = (name: string): Item => ({ jid: 'carol@elsewhere.test', subscription: 'none', name, groups: [] });

beforeAll(async () => {
  scene = await startLiveRosterScene(ejabberdRosters);
});

afterAll(() => scene?.stop());

beforeEach(() => {
  names += 1;
  alice = `alice${names}`;
  comeBack();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.stop()));
});

/** The application, that is. */
function goAway(): void {
  scene.responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));
}

function comeBack(): void {
  scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
}

async function connect(username = alice): Promise<TestClient> {
  const client = await scene.server.connect(username, { presence: false });
  clients.push(client);
  return client;
}

async function shownTo(client: TestClient): Promise<(string | undefined)[]> {
  const result = await client.ask('get', rosterQuery);
  expect(result.attrs['type']).toBe('result');
  return itemsIn(result).map(({ name }) => name);
}

/** All that was to be kept is in its file. */
async function untilKept(): Promise<void> {
  await scene.stats();
  await scene.server.shell(`sys:get_state(${keeper}), ok = mod_warder_roster_file:sync(<<"localhost">>)`);
}

/** He was online with this roster, and is no more. */
async function leaveBehind(...items: Item[]): Promise<void> {
  scene.hold(at(alice), ...items);
  const before = await connect();
  expect(await shownTo(before)).toEqual(items.map(({ name }) => name));
  await untilKept();
  await before.stop();
}

/** When what is known of him was written; 'none' where nothing is. */
const writtenAt = (): Promise<string> =>
  scene.server.shell(
    `case mod_warder_roster_file:lookup(<<"localhost">>, <<"${alice}">>) of {ok, Row} -> element(2, Row); none -> none end`,
  );

/** As a fault would do it. */
async function restart(): Promise<void> {
  expect(scene.server.output()).not.toMatch(ejabberdRosters.crashed);
  await scene.server.killAndRestart();
  await scene.server.waitForOutput(/Connected to NATS/);
}

async function folder(): Promise<string> {
  return JSON.parse(await scene.server.shell('mnesia:system_info(directory)')) as string;
}

async function expectError(username = alice): Promise<TestClient> {
  const client = await connect(username);
  expect(errorOf(await client.ask('get', rosterQuery))).toMatchObject(tryAgain);
  return client;
}

describe('the last known roster', () => {
  it('is served after the node was killed, while the application is gone, and corrected by pushes when it is back', async () => {
    await leaveBehind(carol('known'));
    goAway();
    await restart();
    const client = await connect();
    expect(await shownTo(client)).toEqual(['known']);
    scene.hold(at(alice), carol('changed'));
    comeBack();
    expect(await pushed(client)).toEqual(carol('changed'));
    await untilKept();
    await client.stop();
    goAway();
    expect(await shownTo(await connect())).toEqual(['changed']);
  });

  it('is served after the module was taken out and put in again', async () => {
    await leaveBehind(carol('known'));
    goAway();
    await ejabberdRosters.restartHook(scene.server);
    expect(await shownTo(await connect())).toEqual(['known']);
  });

  it('is not served before the application was asked, and replaced by an answer without a number', async () => {
    await leaveBehind(carol('known'));
    scene.hold(at(alice), carol('changed'));
    scene.responder.on('roster-refresh', (asked) => scene.answer(asked, 0));
    expect(await shownTo(await connect())).toEqual(['changed']);
  });

  it('is what the client and its contacts go by meanwhile', async () => {
    await leaveBehind(carol('known'));
    goAway();
    const client = await connect();
    const relation = `mod_warder_roster:roster_get_jid_info({none, none, []}, <<"${alice}">>, <<"localhost">>, jid:decode(<<"carol@elsewhere.test">>))`;
    expect(await shownTo(client)).toEqual(['known']);
    scene.holdWhole(at(alice), { items: [{ ...carol('changed'), subscription: 'both' }] });
    comeBack();
    expect(await pushed(client)).toMatchObject({ name: 'changed' });
    await untilKept();
    await client.stop();
    goAway();
    // Of somebody who is not there.
    expect(await scene.server.shell(relation)).toMatch(/^\{both/);
  });

  it('is not written anew where nothing has changed, and is where something has', async () => {
    await leaveBehind(carol('known'));
    const written = await writtenAt();
    expect(written).not.toBe('none');
    await leaveBehind(carol('known'));
    expect(await writtenAt()).toBe(written);
    await leaveBehind(carol('changed'));
    expect(await writtenAt()).not.toBe(written);
  });

  it('does not serve where the fallback is an error', async () => {
    await leaveBehind(carol('known'));
    goAway();
    await scene.server.reconfigure({ ...policy, fallback: { 'roster-refresh': 'error' } });
    const client = await expectError();
    await scene.server.reconfigure(policy);
    await client.stop();
    expect(await shownTo(await connect())).toEqual(['known']);
  });

  it('goes with the account: who makes it anew is shown nothing of his predecessor', async () => {
    await leaveBehind(carol('known'));
    await scene.server.unregister(alice);
    goAway();
    await expectError();
    expect(await writtenAt()).toBe('none');
  });

  it('goes with the account though an answer is still to come', async () => {
    scene.hold(at(alice), carol('known'));
    const client = await connect();
    await shownTo(client);
    let send = (): void => undefined;
    scene.responder.on(
      'roster-refresh',
      (asked) => new Promise((resolve) => (send = () => resolve(scene.answer(asked)))),
    );
    scene.hold(at(alice), carol('changed'));
    const count = scene.askedFor(at(alice)).length;
    await scene.change({ user: at(alice) });
    await scene.untilAskedFor(at(alice), count + 1);
    await client.stop();
    await scene.server.unregister(alice);
    const { applied = 0 } = await scene.stats();
    send();
    while (((await scene.stats())['applied'] ?? 0) === applied);
    await untilKept();
    expect(await writtenAt()).toBe('none');
  });

  it('is written and read by a process that no login needs: while it stands still, who is answered is served', async () => {
    await leaveBehind(carol('known'));
    await scene.server.shell(`ok = sys:suspend(${keeper})`);
    try {
      scene.hold(at(alice), carol('changed'));
      const client = await connect();
      expect(await shownTo(client)).toEqual(['changed']);
      await client.stop();
      goAway();
      await (await expectError()).stop();
    } finally {
      await scene.server.shell(`ok = sys:resume(${keeper})`);
    }
    expect(await shownTo(await connect())).toEqual(['changed']);
  });

  it('is forgotten where rosters are not kept elsewhere any more', async () => {
    await leaveBehind(carol('known'));
    goAway();
    await scene.server.reconfigure({ ...policy, roster: false });
    await scene.server.shell(`sys:get_state(${keeper}), ok`);
    expect(readdirSync(await folder())).not.toContain(fileName);
    await scene.server.reconfigure(policy);
    await expectError();
  });
});

describe('a file that is damaged', () => {
  async function overwrite(from: number): Promise<void> {
    const file = join(await folder(), fileName);
    const descriptor = openSync(file, 'r+');
    const { size } = statSync(file);
    writeSync(descriptor, Buffer.alloc(size - from, 'rubbish '), 0, size - from, from);
    closeSync(descriptor);
  }

  it.each([
    ['from its beginning', 0],
    ['behind its head', 1_000],
  ])('%s, and found so at the start, costs what it held, and neither the node nor a login', async (_where, from) => {
    await leaveBehind(carol('known'));
    await overwrite(from);
    goAway();
    await restart();
    const client = await expectError();
    comeBack();
    while ((await client.ask('get', rosterQuery)).attrs['type'] === 'error');
    expect(await shownTo(client)).toEqual(['known']);
    await untilKept();
    await client.stop();
    goAway();
    expect(await shownTo(await connect())).toEqual(['known']);
  });

  it('while the node is running costs what it held, until it was repaired', async () => {
    await leaveBehind(carol('known'));
    await overwrite(1_000);
    goAway();
    const client = await expectError();
    await scene.server.waitForOutput(/The last known rosters of localhost are not at hand for a while/);
    comeBack();
    await scene.server.shell(`${keeper} ! follow, sys:get_state(${keeper}), ok`);
    await client.stop();
    await leaveBehind(carol('known'));
    goAway();
    expect(await shownTo(await connect())).toEqual(['known']);
  });

  it('that cannot be opened at all is tried again, and costs nobody his login', async () => {
    await leaveBehind(carol('known'));
    goAway();
    const file = join(await folder(), fileName);
    renameSync(file, `${file}.aside`);
    mkdirSync(file);
    await restart();
    const client = await expectError();
    await client.stop();
    rmdirSync(file);
    renameSync(`${file}.aside`, file);
    await scene.server.shell(`${keeper} ! follow, sys:get_state(${keeper}), ok`);
    expect(await shownTo(await connect())).toEqual(['known']);
  });
});

it('nothing in all this went wrong inside ejabberd', () => {
  expect(scene.server.output()).not.toMatch(ejabberdRosters.crashed);
});

it.each([
  ['the process that keeps them', `whereis(${keeper})`],
  ['the process of the file', 'dets:info({mod_warder_roster_file, <<"localhost">>}, owner)'],
])('%s, killed, takes none of them along', async (_what, process) => {
  await leaveBehind(carol('known'));
  goAway();
  const gone = "receive {'DOWN', Ref, _, _, _} -> ok end";
  await scene.server.shell(`Killed = ${process}, Ref = monitor(process, Killed), exit(Killed, kill), ${gone}`);
  const there = '(fun Wait() -> case catch sys:get_state(Name) of {state, _, _, _, _} -> ok; _ -> Wait() end end)()';
  await (await connect()).ask('get', rosterQuery);
  await scene.server.shell(`Name = ${keeper}, ${there}, Name ! follow, sys:get_state(Name), ok`);
  await Promise.all(clients.splice(0).map((client) => client.stop()));
  expect(await shownTo(await connect())).toEqual(['known']);
});
