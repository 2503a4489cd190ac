/** What ejabberd's own mod_roster has to do with rosters that are kept elsewhere: nothing, but for who may change them. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';
import { holdRosters, logIn } from './roster-responder.ts';
import { isPresence, isPush, isPushOf, itemsIn, rosterQuery } from './roster-scene.ts';
import { errorOf, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';
import type { PolicyOptions } from './xmpp-server.ts';

const timeoutsMs = { 'roster-refresh': 30_000, 'roster-set': 30_000, 'roster-subscription': 30_000 };
const policy: PolicyOptions = { roster: true, checks: [], timeoutsMs };

let broker: NatsServer;
let responder: Responder;
let ejabberd: Ejabberd;
let anna: TestClient;
let bert: TestClient;

beforeAll(async () => {
  broker = await startNatsServer();
  responder = await startResponder(broker.url);
  ejabberd = await startEjabberd({
    natsUrl: broker.url,
    codePaths: [await buildHook()],
    policy: { checks: [] },
  });
  await ejabberd.waitForOutput(/Connected to NATS/);
  // All that follows works after a reload, too.
  await ejabberd.reconfigure(policy);
});

afterAll(async () => {
  await ejabberd?.stop();
  await responder?.stop();
  await broker?.stop();
});

let users = 0;

beforeEach(async () => {
  responder.reset();
  holdRosters(responder);
  users += 1;
  [anna, bert] = [await logIn(ejabberd, `anna${users}`, 'phone'), await logIn(ejabberd, `bert${users}`, 'phone')];
});

const set = (jid: string, attrs: Readonly<Record<string, string>> = {}): Promise<Element> =>
  anna.ask('set', rosterQuery(xml('item', { jid, ...attrs })));

/** How many contacts mod_roster has stored. */
async function stored(): Promise<number> {
  return Number(await ejabberd.shell('mnesia:table_info(roster, size)'));
}

it('it stores nothing of what clients set, ask for and grant', async () => {
  await set('carla@elsewhere.test', { name: 'Carla' });
  await anna.send(xml('presence', { type: 'subscribe', to: bert.bare }));
  await bert.take('the request', isPresence(anna.bare, 'subscribe'));
  await bert.send(xml('presence', { type: 'subscribed', to: anna.bare }));
  await anna.take('the push', isPushOf(bert.bare, { subscription: 'to' }));
  await set('carla@elsewhere.test', { subscription: 'remove' });

  expect(await stored()).toBe(0);
  expect(itemsIn(await anna.ask('get', rosterQuery())).map(({ jid }) => jid)).toEqual([bert.bare]);
});

it('a request that is open is in no table of its own', async () => {
  await ejabberd.register(`absent${users}`);
  await anna.send(xml('presence', { type: 'subscribe', to: `absent${users}@localhost` }));
  await anna.take('the push', isPush);
  await responder.untilAsked('roster-subscription', 2);
  while ((await ejabberd.shell('mnesia:table_info(warder_request, size)')) === '0');

  expect(await stored()).toBe(0);
});

it('what the operator adds by a command is shown until the source says otherwise, and asked of nobody', async () => {
  const [user] = anna.bare.split('@');
  const command = `ok = mod_admin_extra:add_rosteritem(<<"${user ?? ''}">>, <<"localhost">>, <<"dora">>, <<"elsewhere.test">>, <<"Dora">>, <<"Work">>, <<"both">>)`;
  await ejabberd.shell(command);
  await anna.take('the push', isPushOf('dora@elsewhere.test', { subscription: 'both', name: 'Dora' }));

  const dora = { jid: 'dora@elsewhere.test', name: 'Dora', subscription: 'both', groups: ['Work'] };
  for (let shown: unknown[] = []; shown.length === 0;) {
    shown = itemsIn(await anna.ask('get', rosterQuery()));
    if (shown.length > 0) expect(shown).toEqual([dora]);
  }
  expect(responder.of('roster-set')).toEqual([]);
  expect(responder.of('roster-subscription')).toEqual([]);
});

it('whom the operator lets change no contacts is refused without a question', async () => {
  await ejabberd.reload({ policy, modules: { mod_roster: { access: 'none' } } });
  const refused = await set('carla@elsewhere.test');
  expect(errorOf(refused)).toMatchObject({ condition: 'not-allowed' });
  await anna.send(xml('presence', { type: 'subscribe', to: bert.bare, id: 'subscribe' }));
  expect(errorOf(await anna.reply('subscribe'))).toMatchObject({ condition: 'forbidden' });
  await ejabberd.reconfigure(policy);

  expect(responder.of('roster-set')).toEqual([]);
  expect(responder.of('roster-subscription')).toEqual([]);
  await anna.settle();
  expect(anna.inbox.filter(isPush).map(String)).toEqual([]);
});

it('where rosters are not kept elsewhere any more, it has them again', async () => {
  await ejabberd.reconfigure({ checks: [] });
  const carol = await ejabberd.connect(`carol${users}`);
  await carol.ask('set', rosterQuery(xml('item', { jid: 'emil@elsewhere.test' })));
  expect(itemsIn(await carol.ask('get', rosterQuery())).map(({ jid }) => jid)).toEqual(['emil@elsewhere.test']);
  expect(await stored()).toBeGreaterThan(0);
});

it('nothing in all this went wrong inside ejabberd', () => {
  expect(ejabberd.output()).not.toMatch(ejabberdKind.crashed);
});
