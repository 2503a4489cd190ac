/** That the real ejabberd of the tests does what the tests of the hook take for granted, with no hook in it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { freePorts } from './free-port.ts';
import { openStream, named } from './raw-xmpp.ts';
import { enterRoom, hasBody, isFrom, message, xml } from './xmpp-client.ts';
import { connectComponent } from './xmpp-component.ts';

const withoutWarder = { natsUrl: 'nats://127.0.0.1:1', warder: false };

describe('an ejabberd', () => {
  let ejabberd: Ejabberd;

  beforeAll(async () => {
    ejabberd = await startEjabberd({
      ...withoutWarder,
      furtherHosts: [{ host: 'further.test', rooms: true, resumption: true }],
      components: { 'gateway.localhost': 'secret' },
    });
  });

  afterAll(() => ejabberd?.stop());

  it('delivers messages between its clients, on each of its hosts', async () => {
    const [alice, bob] = await Promise.all([ejabberd.connect('alice'), ejabberd.connect('bob')]);
    const carol = await ejabberd.connect('carol', { domain: 'further.test' });
    await alice.send(message(bob.bare, 'to bob'));
    await alice.send(message(carol.bare, 'to carol'));

    await bob.take('the message', hasBody('to bob'));
    await carol.take('the message', hasBody('to carol'));
    await alice.settle();
  });

  it.each(['rooms.localhost', 'rooms.further.test'])('has rooms at %s that need no unlocking', async (rooms) => {
    const [dora, emil] = await Promise.all([ejabberd.connect('dora'), ejabberd.connect('emil')]);
    await enterRoom(dora, `hall@${rooms}`, 'dora');
    await enterRoom(emil, `hall@${rooms}`, 'emil');
    await dora.send(message(`hall@${rooms}`, 'to all', { type: 'groupchat' }));

    await emil.take('the message', hasBody('to all'));
  });

  it('keeps messages for accounts that are away, and forgets removed accounts', async () => {
    const fritz = await ejabberd.connect('fritz');
    await ejabberd.register('gerd');
    await fritz.send(message('gerd@localhost', 'for later'));
    await fritz.settle();
    const gerd = await ejabberd.connect('gerd', { presence: false });
    await gerd.send(xml('presence'));
    await gerd.take('what was kept', hasBody('for later'));
    await ejabberd.unregister('gerd');
    await gerd.closed;

    expect(await ejabberd.shell('ejabberd_auth:user_exists(<<"gerd">>, <<"localhost">>)')).toBe('false');
  });

  it('lets components in', async () => {
    const hans = await ejabberd.connect('hans');
    const gateway = await connectComponent(ejabberd.componentPort, 'gateway.localhost', 'secret');
    gateway.send(message(hans.bare, 'through the gateway', { from: 'zoe@gateway.localhost/1' }));

    await hans.take('the message', hasBody('through the gateway'));
    gateway.stop();
  });

  it('resumes streams where that is wanted', async () => {
    await ejabberd.register('ida', 'further.test');
    const stream = await openStream(ejabberd.port, 'further.test');
    await stream.authenticate('ida');
    const jid = await stream.bind('phone');
    stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    const enabled = await stream.take('stream management', named('enabled'));
    stream.vanish();
    const again = await openStream(ejabberd.port, 'further.test');
    await again.authenticate('ida');
    again.write(`<resume xmlns='urn:xmpp:sm:3' h='0' previd='${enabled.attrs['id'] ?? ''}'/>`);

    expect(jid).toBe('ida@further.test/phone');
    await again.take('that it is resumed', named('resumed'));
    again.vanish();
  });

  it('cuts its clients off when it is told to', async () => {
    const jan = await ejabberd.connect('jan');
    await ejabberd.disconnectClients();

    await jan.closed;
  });

  it('reads its configuration again', async () => {
    await ejabberd.reconfigure({});

    await ejabberd.waitForOutput(/Configuration reloaded successfully/);
  });

  it('evaluates Erlang, and says why it could not', async () => {
    expect(await ejabberd.shell('node()')).toBe(`'${ejabberd.node}'`);
    await expect(ejabberd.shell('1 / 0')).rejects.toThrow('badarith');
    await expect(ejabberd.shell('exit(gone)')).rejects.toThrow('gone');
  });
});

describe('a cluster of two', () => {
  let first: Ejabberd;
  let second: Ejabberd;

  beforeAll(async () => {
    first = await startEjabberd(withoutWarder);
    second = await startEjabberd({ ...withoutWarder, cluster: first });
  });

  afterAll(async () => {
    await second?.stop();
    await first?.stop();
  });

  it('delivers from one node to the other, and a room is one room on both', async () => {
    const alice = await first.connect('alice');
    const bob = await second.connect('bob');
    await alice.send(message(bob.bare, 'from node to node'));
    await bob.take('the message', hasBody('from node to node'));
    await enterRoom(alice, 'hall@rooms.localhost', 'alice');
    await enterRoom(bob, 'hall@rooms.localhost', 'bob');

    await alice.take('that bob has come', isFrom('hall@rooms.localhost/bob'));
  });
});

describe('two that are two hosts', () => {
  let ours: Ejabberd;
  let theirs: Ejabberd;

  beforeAll(async () => {
    const [ourPort, theirPort] = (await freePorts(2)) as [number, number];
    [ours, theirs] = await Promise.all([
      startEjabberd({
        ...withoutWarder,
        host: 'ours.test',
        s2sPort: ourPort,
        peers: { 'theirs.test': theirPort, 'rooms.theirs.test': theirPort },
      }),
      startEjabberd({
        ...withoutWarder,
        host: 'theirs.test',
        s2sPort: theirPort,
        peers: { 'ours.test': ourPort, 'rooms.ours.test': ourPort },
      }),
    ]);
  });

  afterAll(async () => {
    await Promise.all([ours?.stop(), theirs?.stop()]);
  });

  it('talk to each other', async () => {
    const [alice, rita] = await Promise.all([ours.connect('alice'), theirs.connect('rita')]);
    await rita.send(message(alice.bare, 'from elsewhere'));
    await alice.take('the message', hasBody('from elsewhere'));
    await enterRoom(rita, 'hall@rooms.ours.test', 'rita');
  });
});
