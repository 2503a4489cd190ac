/** Contacts that clients add, rename, regroup and remove where the application owns the rosters, at a real server. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Answer, Responder } from '../responder.ts';
import { holdRosters, logIn } from '../roster-responder.ts';
import type { HeldItem, HeldRosters } from '../roster-responder.ts';
import { isPresence, isPush, isPushOf, itemsIn, rosterQuery } from '../roster-scene.ts';
import type { ShownItem } from '../roster-scene.ts';
import { openStream } from '../raw-xmpp.ts';
import { errorOf, hasBody, isFrom, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function setContacts(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let rosters: HeldRosters;

  beforeAll(async () => {
    const timeoutsMs = { 'roster-refresh': 30_000, 'roster-set': 30_000, 'roster-subscription': 30_000 };
    scene = await startSceneOn(kind, {
      policy: { checks: [], roster: true, timeoutsMs },
      furtherHosts: [
        {
          host: 'allowing.test',
          policy: { timeoutsMs: { ...timeoutsMs, 'roster-set': 50 }, fallback: { 'roster-set': 'allow' } },
        },
      ],
    });
    ({ responder } = scene);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => {
    responder.reset();
    rosters = holdRosters(responder);
  });

  let users = 0;

  /** Somebody whom no other test knows, with two devices. */
  async function logInBoth(items: (user: string) => readonly HeldItem[] = () => []): Promise<[TestClient, TestClient]> {
    users += 1;
    rosters.put(`user${users}@localhost`, items(`user${users}@localhost`));
    const phone = await logIn(scene.server, `user${users}`, 'phone');
    const tablet = await logIn(scene.server, `user${users}`, 'tablet');
    phone.inbox.length = 0;
    return [phone, tablet];
  }

  function item(jid: string, attrs: Readonly<Record<string, string>> = {}, ...groups: string[]): Element {
    return xml('item', { jid, ...attrs }, ...groups.map((group) => xml('group', {}, group)));
  }

  async function rosterOf(client: TestClient): Promise<ShownItem[]> {
    return itemsIn(await client.ask('get', rosterQuery()));
  }

  /** Nothing of what came shows the contact list as changed. */
  async function expectNoPush(...clients: TestClient[]): Promise<void> {
    for (const client of clients) {
      await client.settle();
      expect(client.inbox.filter(isPush).map(String)).toEqual([]);
    }
  }

  function held(answer: Answer): { letGo: () => void } {
    let letGo = (): void => undefined;
    const until = new Promise<void>((resolve) => (letGo = resolve));
    responder.on('roster-set', () => until.then(() => answer));
    return { letGo };
  }

  describe('a contact that a client adds', () => {
    it('is asked about whole, and then in the roster of every device', async () => {
      const [phone, tablet] = await logInBoth();
      const set = item('Bob@Localhost', { name: 'Bob <3' }, 'Friends', 'Chess & Go');
      const result = await phone.ask('set', rosterQuery(set));

      expect(result.attrs['type']).toBe('result');
      expect(responder.of('roster-set')).toHaveLength(1);
      expect(responder.of('roster-set')[0]).toMatchObject({
        user: phone.bare,
        contact: 'bob@localhost',
        name: 'Bob <3',
        groups: ['Friends', 'Chess & Go'],
      });
      expect(responder.of('roster-set')[0]).not.toHaveProperty('remove');
      const shown = { jid: 'bob@localhost', name: 'Bob <3', subscription: 'none', groups: ['Chess & Go', 'Friends'] };
      for (const device of [phone, tablet]) {
        const push = await device.take('the push', isPush);
        expect(itemsIn(push)).toEqual([shown]);
        const roster = await device.ask('get', rosterQuery());
        expect(itemsIn(roster)).toEqual([shown]);
        expect(push.getChild('query')?.attrs['ver']).toBe(roster.getChild('query')?.attrs['ver']);
      }
    });

    it('is called and grouped as the application says', async () => {
      responder.on('roster-set', () => ({ verdict: 'modify', item: { name: 'Robert', groups: ['Staff'] } }));
      const [phone, tablet] = await logInBoth();

      expect(
        (await phone.ask('set', rosterQuery(item('bob@localhost', { name: 'Bob' }, 'Friends')))).attrs['type'],
      ).toBe('result');
      const shown = { name: 'Robert', groups: ['Staff'] };
      await phone.take('the push', isPushOf('bob@localhost', shown));
      await tablet.take('the push', isPushOf('bob@localhost', shown));
      expect(await rosterOf(tablet)).toEqual([{ jid: 'bob@localhost', subscription: 'none', ...shown }]);
    });

    it('keeps his subscription when he is renamed, and loses name and groups that are not sent again', async () => {
      const [phone, tablet] = await logInBoth(() => [
        { jid: 'bob@localhost', subscription: 'to', name: 'Bob', groups: ['Work'] },
      ]);
      await phone.ask('set', rosterQuery(item('bob@localhost', { subscription: 'both' })));

      await tablet.take('the push', isPushOf('bob@localhost', { subscription: 'to', groups: [] }));
      expect(await rosterOf(tablet)).toEqual([{ jid: 'bob@localhost', subscription: 'to', groups: [] }]);
    });

    it('is not pushed to a device that has not asked for the roster', async () => {
      const [phone] = await logInBoth();
      const silent = await scene.server.connect(phone.bare.split('@')[0] ?? '', { resource: 'silent' });
      await phone.ask('set', rosterQuery(item('bob@localhost')));
      await phone.take('the push', isPush);

      await expectNoPush(silent);
    });

    it('changes nothing before the answer, which holds nobody up but this client, whose order is kept', async () => {
      const { letGo } = held({ verdict: 'allow' });
      const [phone, tablet] = await logInBoth();
      const set = xml('iq', { type: 'set', id: 'set' }, rosterQuery(item('bob@localhost')));
      const after = xml('iq', { type: 'get', id: 'after' }, rosterQuery());
      await phone.write(`${String(set)}${String(after)}${String(message(tablet.jid, 'behind'))}`);
      await responder.untilAsked('roster-set');
      expect(await rosterOf(tablet)).toEqual([]);
      await expectNoPush(tablet);
      expect(phone.inbox.filter(({ name }) => name === 'iq').map(String)).toEqual([]);
      letGo();

      expect((await phone.reply('set')).attrs['type']).toBe('result');
      expect(itemsIn(await phone.reply('after'))).toHaveLength(1);
      await tablet.take('the message', hasBody('behind'));
    });

    it('is in the roster of the other device although its own is gone by the time of the answer', async () => {
      const { letGo } = held({ verdict: 'allow' });
      const [phone, tablet] = await logInBoth();
      await phone.send(xml('iq', { type: 'set', id: 'set' }, rosterQuery(item('bob@localhost'))));
      await responder.untilAsked('roster-set');
      const successor = await logIn(scene.server, phone.bare.split('@')[0] ?? '', 'phone');
      // Where a session does one thing at a time it hears of its end when it has the answer.
      if (kind.receivesWhileAsking) await phone.closed;
      letGo();

      await tablet.take('the push', isPushOf('bob@localhost'));
      expect(await rosterOf(successor)).toHaveLength(1);
    });
  });

  describe('a change that is not allowed', () => {
    const refusals: [string, Answer, object][] = [
      [
        'denied',
        { verdict: 'deny' },
        { type: 'cancel', condition: 'not-allowed', text: 'This contact list is kept elsewhere' },
      ],
      [
        'denied with an error of its own',
        { verdict: 'deny', error: { type: 'auth', condition: 'forbidden', text: 'Ask your teacher' } },
        { type: 'auth', condition: 'forbidden', text: 'Ask your teacher' },
      ],
      ['dropped', { verdict: 'drop' }, { type: 'cancel', condition: 'not-allowed' }],
      ['deferred', { verdict: 'defer' }, { type: 'wait', condition: 'resource-constraint' }],
      ['not answered', { failure: 'source-unavailable', text: '' }, { type: 'wait', condition: 'resource-constraint' }],
      ['answered with rubbish', new Uint8Array([0xc1]), { type: 'wait', condition: 'resource-constraint' }],
      ['modified into nothing', { verdict: 'modify' }, { type: 'wait', condition: 'resource-constraint' }],
      ['refused as malformed', { failure: 'bad-request', text: '' }, { type: 'cancel', condition: 'not-allowed' }],
    ];

    it.each(refusals)('gets an error and changes nothing when it is %s', async (_what, answer, error) => {
      responder.on('roster-set', () => answer);
      const [phone, tablet] = await logInBoth(() => [{ jid: 'bob@localhost', subscription: 'none', name: 'Bob' }]);

      for (const set of [item('bob@localhost', { name: 'Robert' }), item('eve@localhost'), removal('bob@localhost')]) {
        expect(errorOf(await phone.ask('set', rosterQuery(set)))).toMatchObject(error);
      }
      expect(responder.of('roster-set')).toHaveLength(3);
      await expectNoPush(phone, tablet);
      expect(await rosterOf(tablet)).toEqual([{ jid: 'bob@localhost', subscription: 'none', name: 'Bob', groups: [] }]);
    });

    it('is made nevertheless where the fallback says so', async () => {
      responder.on('roster-set', () => undefined);
      const phone = await logIn(scene.server, 'fred', 'phone', 'allowing.test');

      expect((await phone.ask('set', rosterQuery(item('bob@localhost')))).attrs['type']).toBe('result');
      expect(await rosterOf(phone)).toHaveLength(1);
    });

    it('is answered with wait while the roster itself is not known, and nobody is asked', async () => {
      responder.on('roster-refresh', () => ({ failure: 'source-unavailable', text: '' }));
      const lena = await scene.server.connect('lena', { presence: false });

      expect(errorOf(await lena.ask('set', rosterQuery(item('bob@localhost'))))).toMatchObject({ type: 'wait' });
      expect(responder.of('roster-set')).toEqual([]);
    });
  });

  function removal(jid: string): Element {
    return item(jid, { subscription: 'remove' });
  }

  describe('a set that is none', () => {
    const long = 'x'.repeat(1024);
    const malformed: [string, Element[], string, string][] = [
      ['no item', [], 'modify', 'bad-request'],
      ['two items', [item('bob@localhost'), item('eve@localhost')], 'modify', 'bad-request'],
      ['something else than an item', [xml('contact', { jid: 'bob@localhost' })], 'modify', 'bad-request'],
      ['an item of another namespace', [xml('item', { xmlns: 'x:y', jid: 'bob@localhost' })], 'modify', 'bad-request'],
      ['no JID', [xml('item')], 'modify', 'bad-request'],
      ['a JID that is none', [item('@')], 'modify', 'bad-request'],
      ['a full JID', [item('bob@localhost/phone')], 'modify', 'bad-request'],
      ['a group twice', [item('bob@localhost', {}, 'A', 'A')], 'modify', 'bad-request'],
      ['a group without a name', [item('bob@localhost', {}, '')], 'modify', 'not-acceptable'],
      ['a group with too long a name', [item('bob@localhost', {}, long)], 'modify', 'not-acceptable'],
      ['too long a name', [item('bob@localhost', { name: long })], 'modify', 'not-acceptable'],
      ['the removal of somebody who is not there', [removal('bob@localhost')], 'modify', 'item-not-found'],
    ];

    it.each(malformed)('is refused without a question when it has %s', async (_what, items, type, condition) => {
      const [phone, tablet] = await logInBoth();

      expect(errorOf(await phone.ask('set', rosterQuery(...items)))).toMatchObject({ type, condition });
      expect(responder.of('roster-set')).toEqual([]);
      await expectNoPush(phone, tablet);
    });

    it('is refused when it makes the user his own contact', async () => {
      const [phone] = await logInBoth();

      expect(errorOf(await phone.ask('set', rosterQuery(item(phone.bare))))).toMatchObject({
        condition: 'not-allowed',
      });
      expect(responder.of('roster-set')).toEqual([]);
    });
  });

  describe('a contact that a client removes', () => {
    it('is asked about as a removal, goes from every device, and loses sight of the user, as the user does of him', async () => {
      rosters.put('gerd@localhost', []);
      const gerd = await logIn(scene.server, 'gerd', 'phone');
      const [phone, tablet] = await logInBoth((user) => {
        rosters.put('gerd@localhost', [{ jid: user, subscription: 'both' }]);
        return [{ jid: 'gerd@localhost', subscription: 'both', name: 'Gerd' }];
      });
      // Its other device makes Prosody ask for gerd's roster anew.
      const gerdsTablet = await logIn(scene.server, 'gerd', 'tablet');
      await gerd.take('presence of the phone', isPresence(phone.jid));
      gerd.inbox.length = 0;
      expect((await phone.ask('set', rosterQuery(removal('gerd@localhost')))).attrs['type']).toBe('result');

      expect(responder.of('roster-set')).toHaveLength(1);
      expect(responder.of('roster-set')[0]).toMatchObject({
        user: phone.bare,
        contact: 'gerd@localhost',
        remove: true,
      });
      for (const device of [phone, tablet]) {
        await device.take('the push', isPushOf('gerd@localhost', { subscription: 'remove' }));
        expect(await rosterOf(device)).toEqual([]);
      }
      for (const device of [gerd, gerdsTablet]) {
        await device.take('that the phone is gone', isPresence(phone.jid, 'unavailable'));
        await device.take('the push', isPushOf(phone.bare, { subscription: 'none' }));
      }
      await gerd.send(xml('presence', {}, xml('status', {}, 'who sees this?')));
      await gerd.take('its own presence', isFrom(gerd.jid));
      await phone.settle();
      expect(phone.inbox.filter((stanza) => stanza.getChildText('status') === 'who sees this?')).toEqual([]);
      // What the server sends to take the subscriptions back is no client's, so it is told where it arrives alone.
      await responder.untilAsked('roster-subscription', 2);
      const told = responder
        .of('roster-subscription')
        .map(({ user, direction, action }) => ({ user, direction, action }));
      expect(told).toEqual([
        { user: 'gerd@localhost', direction: 'in', action: 'unsubscribed' },
        { user: 'gerd@localhost', direction: 'in', action: 'unsubscribe' },
      ]);
    });
  });

  describe('a user whose account is removed', () => {
    it('takes his subscriptions back, so that nobody goes on waiting for him', async () => {
      rosters.put('leaving@localhost', [{ jid: 'staying@localhost', subscription: 'both' }]);
      rosters.put('staying@localhost', [{ jid: 'leaving@localhost', subscription: 'both' }]);
      const staying = await logIn(scene.server, 'staying', 'phone');
      await scene.server.register('leaving');
      const leaving = await openStream(scene.server.port, 'localhost');
      await leaving.authenticate('leaving');
      await leaving.bind('phone');
      leaving.write("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
      await leaving.take('the roster', ({ attrs }) => attrs['id'] === 'roster');
      await scene.server.unregister('leaving');

      await staying.take('the push', isPushOf('leaving@localhost', { subscription: 'none' }));
      await responder.untilAsked('roster-subscription', 2);
      const told = responder
        .of('roster-subscription')
        .map(({ user, direction, action }) => `${String(user)} ${String(direction)} ${String(action)}`);
      expect(told.toSorted()).toEqual(['staying@localhost in unsubscribe', 'staying@localhost in unsubscribed']);
      leaving.vanish();
    });
  });

  it(`nothing in all this went wrong inside ${kind.name}`, () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
