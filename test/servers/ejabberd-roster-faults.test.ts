/** What becomes of rosters when a process that keeps them is killed under users who are online. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isPresence, itemsIn, pushed, rosterQuery, startLiveRosterScene, told } from './live-roster-scene.ts';
import type { Item, LiveRosterScene } from './live-roster-scene.ts';
import type { Answer } from './responder.ts';
import { ejabberdRosters } from './roster-kind.ts';
import { xml } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

let scene: LiveRosterScene;
let names = 0;
let alice: string;
let phone: TestClient;
let bob: TestClient;

const at = (username: string): string => `${username}@localhost`;
const contact = (name: string): Item => ({ jid: at('bob'), subscription: 'both', name, groups: [] });

beforeAll(async () => {
  scene = await startLiveRosterScene(ejabberdRosters);
});

afterAll(() => scene?.stop());

beforeEach(async () => {
  names += 1;
  alice = `alice${names}`;
  scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
  scene.hold(at(alice), contact('before'));
  scene.hold(at('bob'), { jid: at(alice), subscription: 'both' });
  bob = await scene.logIn('bob');
  phone = await scene.logIn(alice);
  await bob.take('her presence', isPresence(phone.jid));
});

afterEach(async () => {
  await Promise.all([phone.stop(), bob.stop()]);
});

const user = (): string => `begin {ok, Pid} = mod_warder_roster_refresh:user(<<"localhost">>, <<"${alice}">>), Pid end`;

/** Kills a process, and waits until it is gone. */
async function kill(process: string): Promise<void> {
  const gone = "receive {'DOWN', Ref, _, _, _} -> ok end";
  await scene.server.shell(`Killed = ${process}, Ref = monitor(process, Killed), exit(Killed, kill), ${gone}`);
}

async function namesShown(): Promise<(string | undefined)[]> {
  return itemsIn(await phone.ask('get', rosterQuery)).map(({ name }) => name);
}

describe.each([
  ['the process of the user', user],
  ["the host's process", () => 'whereis(gen_mod:get_module_proc(<<"localhost">>, mod_warder_roster_refresh))'],
  ['the queue', () => 'whereis(warder_roster_queue)'],
  ['the process that keeps the table', () => 'whereis(mod_warder_roster_state)'],
])('when %s is killed', (_what, process) => {
  it('nobody loses his session or his roster, and what changes is shown', async () => {
    await kill(process());
    expect(await namesShown()).toEqual(['before']);
    scene.hold(at(alice), contact('after'));
    await scene.change({ user: at(alice) });
    expect(await pushed(phone)).toEqual(contact('after'));
    await phone.send(xml('presence', {}, xml('show', {}, 'away')));
    const shown = await bob.take('her presence', (stanza) => stanza.getChildText('show') === 'away');
    expect(shown.attrs['from']).toBe(phone.jid);
    await bob.settle();
    expect(told(bob).filter((stanza) => stanza.includes('unavailable'))).toEqual([]);
  });
});

it('who was asking for it is asked for again', async () => {
  const held: ((answer: Answer) => void)[] = [];
  scene.responder.on('roster-refresh', () => new Promise((resolve) => held.push(resolve)));
  const count = scene.askedFor(at(alice)).length;
  scene.hold(at(alice), contact('after'));
  await scene.change({ user: at(alice) });
  await scene.untilAskedFor(at(alice), count + 1);
  scene.responder.on('roster-refresh', (asked) => scene.answer(asked));
  const askers = `[Asker || {process, Asker} <- element(2, process_info(${user()}, monitors))]`;
  await kill(
    `hd([Asker || Asker <- ${askers}, Asker =/= whereis(gen_mod:get_module_proc(<<"localhost">>, mod_warder_roster_refresh))])`,
  );
  expect(await pushed(phone)).toEqual(contact('after'));
  expect(scene.server.output()).toContain('Could not ask for a roster');
});

it('what somebody sends who knows its messages crashes no session', async () => {
  const session = `ejabberd_sm:get_session_pid(<<"${alice}">>, <<"localhost">>, <<"${phone.jid.split('/')[1] ?? ''}">>)`;
  const broken =
    '#{generation => 99, version => <<"v">>, changes => [{<<"@">>, none, none}], requests => [{<<"@">>, <<>>}]}';
  await scene.server.shell(`${session} ! {mod_warder_roster, ${broken}}`);
  expect(await namesShown()).toEqual(['before']);
  await scene.server.waitForOutput(/A session could not be told of a change of its roster/);
});

it('a reload that takes rosters away and gives them back shows them again to who is there', async () => {
  await scene.server.reconfigure({ checks: [], roster: false });
  expect(await namesShown()).toEqual([]);
  await scene.server.reconfigure({ checks: [], roster: true });
  expect(await pushed(phone)).toEqual(contact('before'));
  expect(await namesShown()).toEqual(['before']);
  scene.hold(at(alice), contact('after'));
  await scene.change({ user: at(alice) });
  expect(await pushed(phone)).toEqual(contact('after'));
});

it('requests for a subscription that mod_roster has from before are not shown while rosters are kept elsewhere', async () => {
  const dora = `dora${names}`;
  await scene.server.register(dora);
  await scene.server.reconfigure({ checks: [], roster: false });
  await bob.send(xml('presence', { type: 'subscribe', to: at(dora) }));
  await bob.settle();
  const requests = async (): Promise<unknown[]> => {
    const client = await scene.server.connect(dora, { presence: false });
    await client.send(xml('presence'));
    await client.settle();
    await client.stop();
    return client.inbox.filter(isPresence(at('bob'), 'subscribe'));
  };
  await scene.server.reconfigure({ checks: [], roster: true });
  expect(await requests()).toEqual([]);
  await scene.server.reconfigure({ checks: [], roster: false });
  expect(await requests()).toHaveLength(1);
  await scene.server.reconfigure({ checks: [], roster: true });
});
