/** Groups that come from the application, where a server and its clients use them: privacy lists, and what separates nested ones. */
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeMessagePack } from '../../../src/wire/messagepack.ts';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import { holdRosters, logIn } from '../roster-responder.ts';
import type { HeldRosters } from '../roster-responder.ts';
import { isPushOf } from '../roster-scene.ts';
import { errorOf, hasBody, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function groupContacts(kind: RosterKind): void {
  let scene: SceneOf<XmppServer>;
  let nats: NatsConnection;
  let rosters: HeldRosters;

  beforeAll(async () => {
    scene = await startSceneOn(kind, {
      policy: { roster: true, checks: [], timeoutsMs: { 'roster-refresh': 30_000 } },
      furtherHosts: [{ host: 'nested.test', policy: { rosterDelimiter: '::' } }],
    });
    nats = await connect({ servers: scene.broker.url });
  });

  afterAll(async () => {
    await nats?.close();
    await scene?.stop();
  });

  beforeEach(() => {
    scene.responder.reset();
    rosters = holdRosters(scene.responder);
  });

  describe('a rule of a privacy list about a group', () => {
    const privacy = (...children: Element[]): Element => xml('query', { xmlns: 'jabber:iq:privacy' }, ...children);

    async function expectPassing(from: TestClient, to: TestClient, body: string): Promise<void> {
      await from.send(message(to.bare, body));
      await to.take('the message', hasBody(body));
    }

    async function expectBlocked(from: TestClient, to: TestClient): Promise<void> {
      const stanza = message(to.bare, 'is this blocked?');
      await from.send(stanza);
      const reply = await from.reply(stanza.attrs['id'] ?? '');
      expect(errorOf(reply)).toMatchObject({ type: 'cancel', condition: 'service-unavailable' });
      await to.settle();
      expect(to.inbox.filter(hasBody('is this blocked?')).map(String)).toEqual([]);
    }

    it('holds for who is in that group at the application, on all devices, and follows as it regroups them', async () => {
      rosters.put('alice@localhost', [
        { jid: 'bob@localhost', subscription: 'both', groups: ['Bores'] },
        { jid: 'carol@localhost', subscription: 'both', groups: ['Friends'] },
      ]);
      const phone = await logIn(scene.server, 'alice', 'phone');
      const [bob, carol] = [await logIn(scene.server, 'bob', 'phone'), await logIn(scene.server, 'carol', 'phone')];
      const rule = xml('item', { type: 'group', value: 'Bores', action: 'deny', order: '1' }, xml('message'));
      const rest = xml('item', { action: 'allow', order: '2' });
      for (const query of [
        privacy(xml('list', { name: 'quiet' }, rule, rest)),
        privacy(xml('default', { name: 'quiet' })),
      ]) {
        expect((await phone.ask('set', query)).attrs['type']).toBe('result');
      }
      const tablet = await logIn(scene.server, 'alice', 'tablet');
      await expectBlocked(bob, phone);
      await expectBlocked(bob, tablet);
      await expectPassing(carol, phone, 'hello from a friend');

      rosters.put('alice@localhost', [
        { jid: 'bob@localhost', subscription: 'both', groups: ['Friends'] },
        { jid: 'carol@localhost', subscription: 'both', groups: ['Bores', 'Friends'] },
      ]);
      nats.publish('xmpp.policy.v1.invalidate', encodeMessagePack({ v: 1, user: 'alice@localhost' }));
      for (const device of [phone, tablet]) {
        await device.take('the push', isPushOf('bob@localhost', { groups: ['Friends'] }));
        await device.take('the push', isPushOf('carol@localhost', { groups: ['Bores', 'Friends'] }));
      }
      await expectPassing(bob, phone, 'a friend again');
      await expectBlocked(carol, phone);
      await expectBlocked(carol, tablet);
    });
  });

  describe('the delimiter of nested groups', () => {
    const query = (text?: string): Element =>
      xml(
        'query',
        { xmlns: 'jabber:iq:private' },
        xml('roster', { xmlns: 'roster:delimiter' }, ...(text === undefined ? [] : [text])),
      );
    const delimiterIn = (iq: Element): string | null | undefined =>
      iq.getChild('query', 'jabber:iq:private')?.getChildText('roster', 'roster:delimiter');

    it('is the configured one for every user, and no client changes it', async () => {
      for (const username of ['dora', 'emil']) {
        const client = await logIn(scene.server, username, 'phone', 'nested.test');
        expect(delimiterIn(await client.ask('get', query()))).toBe('::');
        expect(errorOf(await client.ask('set', query('/')))).toMatchObject({
          type: 'cancel',
          condition: 'not-allowed',
        });
        expect(delimiterIn(await client.ask('get', query()))).toBe('::');
      }
    });

    it('leaves what else clients store to them', async () => {
      const client = await logIn(scene.server, 'frida', 'phone', 'nested.test');
      const stored = xml('query', { xmlns: 'jabber:iq:private' }, xml('notes', { xmlns: 'x:y' }, 'remember'));
      expect((await client.ask('set', stored)).attrs['type']).toBe('result');

      const asked = xml('query', { xmlns: 'jabber:iq:private' }, xml('notes', { xmlns: 'x:y' }));
      const result = await client.ask('get', asked);
      expect(result.getChild('query', 'jabber:iq:private')?.getChildText('notes', 'x:y')).toBe('remember');
    });

    it("is each user's own where none is configured", async () => {
      const client = await logIn(scene.server, 'gerda', 'phone');
      expect((await client.ask('set', query('/'))).attrs['type']).toBe('result');
      expect(delimiterIn(await client.ask('get', query()))).toBe('/');
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
