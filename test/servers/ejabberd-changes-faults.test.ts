/** What is left of changes and of removed accounts when a process of the hook is killed, and when there are too many. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startSceneOn } from './policy-scene.ts';
import type { SceneOf } from './policy-scene.ts';
import type { Responder } from './responder.ts';
import { holdRosters, logIn } from './roster-responder.ts';
import { isPresence, isPushOf } from './roster-scene.ts';
import { connectComponent } from './xmpp-component.ts';
import { errorOf, xml } from './xmpp-client.ts';
import type { XmppServer } from './xmpp-server.ts';

let scene: SceneOf<XmppServer>;
let responder: Responder;

beforeAll(async () => {
  const timeoutsMs = { 'roster-refresh': 30_000, 'roster-subscription': 30_000, 'user-removed': 500 };
  scene = await startSceneOn(ejabberdKind, {
    policy: { roster: true, checks: ['user-removed'], timeoutsMs },
    components: { 'gateway.test': 'secret' },
  });
  ({ responder } = scene);
});

afterAll(() => scene?.stop());

beforeEach(() => {
  responder.reset();
  holdRosters(responder);
});

/** Kills the process of the first host that has this module's name, and waits for the next. */
async function kill(module: string): Promise<void> {
  const name = `gen_mod:get_module_proc(<<"localhost">>, ${module})`;
  await scene.server.shell(`exit(whereis(${name}), kill)`);
  const isBack = `case whereis(${name}) of undefined -> false; Pid -> is_process_alive(Pid) end`;
  while ((await scene.server.shell(isBack)) !== 'true');
}

const request = (from: string, to: string) => xml('presence', { type: 'subscribe', from, to });

it('a removal that was not told yet is told with the same id', async () => {
  responder.on('user-removed', () => undefined);
  await scene.server.register('anna');
  await scene.server.unregister('anna');
  await responder.untilAsked('user-removed');
  await kill('mod_warder_removed');
  responder.on('user-removed', () => ({ forgotten: true }));

  await scene.server.waitForOutput(/user-removed: anna@localhost/);
  expect(new Set(responder.of('user-removed').map(({ id }) => id)).size).toBe(1);
});

it('a removal is told and stored although the file was destroyed, which is set aside', async () => {
  await scene.server.shell(
    'ok = file:write_file(filename:join(mnesia:system_info(directory), "warder_removals.dets"), "?")',
  );
  await kill('mod_warder_removed');
  await scene.server.register('bert');
  await scene.server.unregister('bert');

  await scene.server.waitForOutput(/user-removed: bert@localhost/);
  await scene.server.waitForOutput(/warder_removals.dets is no file of removed accounts; it is kept as \S+\.broken/);
  expect(scene.server.output()).not.toMatch(/could not be stored|cannot be stored/);
});

it('a request that was being asked about is forgotten, and the next is asked about', async () => {
  responder.on('roster-subscription', () => undefined);
  const [carla, dora] = [await logIn(scene.server, 'carla', 'phone'), await logIn(scene.server, 'dora', 'phone')];
  const gateway = await connectComponent(scene.server.componentPort, 'gateway.test', 'secret');
  gateway.send(request('gina@gateway.test', carla.bare));
  await responder.untilAsked('roster-subscription');
  await kill('mod_warder_requests');
  await kill('mod_warder_relations');
  responder.on('roster-subscription', () => ({ verdict: 'allow' }));
  gateway.send(request('gina@gateway.test', carla.bare));
  await carla.take('the request', isPresence('gina@gateway.test', 'subscribe'));
  await dora.send(xml('presence', { type: 'subscribe', to: carla.bare }));

  await carla.take('the request', isPresence(dora.bare, 'subscribe'));
  await dora.take('the push', isPushOf(carla.bare, { ask: 'subscribe' }));
  gateway.stop();
});

it('of more requests than may wait the last are told to try again, and the others are asked about', async () => {
  let letGo = (): void => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  responder.on('roster-subscription', () => held.then(() => ({ verdict: 'allow' })));
  const emil = await logIn(scene.server, 'emil', 'phone');
  const gateway = await connectComponent(scene.server.componentPort, 'gateway.test', 'secret');
  const senders = Array.from({ length: 257 }, (_, n) => `sender${n}@gateway.test`);
  gateway.send(...senders.map((sender) => request(sender, emil.bare)));
  const error = await gateway.take('the deferral', ({ attrs }) => attrs['type'] === 'error');
  expect(errorOf(error)).toMatchObject({ type: 'wait', condition: 'resource-constraint' });
  await responder.untilAsked('roster-subscription', 256);
  // Once for all of a flood, as every failure.
  await scene.server.waitForOutput(/roster-subscription failed: overloaded, so: defer/);
  letGo();

  const asking = senders.filter((sender) => sender !== error.attrs['to']);
  for (const sender of asking) await emil.take(`the request of ${sender}`, isPresence(sender, 'subscribe'));
  gateway.stop();
});
