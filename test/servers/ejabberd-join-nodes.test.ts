/** Who enters a room that lives on another node of a cluster than the one that he comes by. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';
import { enterRoom, errorOf, isFrom, isOwnPresence, joinOf, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';
import { connectComponent } from './xmpp-component.ts';
import type { TestComponent } from './xmpp-component.ts';

let broker: NatsServer;
let responder: Responder;
let first: Ejabberd;
let second: Ejabberd;
let gateway: TestComponent;
/** On the node where the rooms are. */
let alice: TestClient;
/** On the other, as the gateway is. */
let bob: TestClient;
let room: string;

beforeAll(async () => {
  broker = await startNatsServer();
  responder = await startResponder(broker.url);
  const options = {
    natsUrl: broker.url,
    policy: { timeoutsMs: { 'join-check': 30_000 } },
    components: { 'gateway.localhost': 'secret' },
    codePaths: [await buildHook()],
  };
  first = await startEjabberd(options);
  second = await startEjabberd({ ...options, cluster: first });
  await Promise.all([first, second].map((node) => node.waitForOutput(/Connected to NATS at/)));
  gateway = await connectComponent(second.componentPort, 'gateway.localhost', 'secret');
  [alice, bob] = [await first.connect('alice', { presence: false }), await second.connect('bob', { presence: false })];
});

afterAll(async () => {
  gateway?.stop();
  await second?.stop();
  await first?.stop();
  await responder?.stop();
  await broker?.stop();
});

beforeEach(async () => {
  room = `${randomUUID()}@rooms.localhost`;
  responder.reset();
  await enterRoom(alice, room, 'alice');
});

const deny = { verdict: 'deny' };
const zoe = 'zoe@gateway.localhost/1';
const away = (attrs: Readonly<Record<string, string>>): Element => xml('presence', attrs, xml('show', {}, 'away'));
const isAway = (stanza: Element): boolean => isOwnPresence(stanza) && stanza.getChildText('show') === 'away';

it('a user of another node is asked about when he enters, and not when his status changes', async () => {
  await enterRoom(bob, room, 'bob');
  responder.on('join-check', () => deny);
  await bob.send(away({ to: `${room}/bob` }));

  await bob.take('its own presence', isAway);
  expect(responder.of('join-check').at(-1)).toMatchObject({ user: bob.jid, event: 'join', creating: false });
  expect(responder.of('join-check')).toHaveLength(2);
});

it("nor is a gateway's user, who has no session that would know", async () => {
  gateway.send(joinOf(room, 'zoe', { from: zoe }));
  await gateway.take('its presence', (stanza) => isOwnPresence(stanza) && isFrom(`${room}/zoe`)(stanza));
  responder.on('join-check', () => deny);
  gateway.send(away({ from: zoe, to: `${room}/zoe` }));

  await gateway.take('its own presence', isAway);
  expect(responder.of('join-check').map(({ user }) => user)).toEqual([alice.jid, zoe]);
});

it('who was denied is told so, and is not in the room', async () => {
  responder.on('join-check', () => deny);
  const join = joinOf(room, 'bob');
  await bob.send(join);

  expect(errorOf(await bob.reply(join.attrs['id'] ?? ''))).toMatchObject({ condition: 'forbidden' });
  const items = await alice.ask('get', xml('query', { xmlns: 'http://jabber.org/protocol/disco#items' }), room);
  expect(items.getChild('query')?.getChildren('item')).toHaveLength(1);
});

it('nothing in all this went wrong inside either', () => {
  for (const node of [first, second]) expect(node.output()).not.toMatch(/CRASH REPORT|[Cc]rashed when running/);
});
