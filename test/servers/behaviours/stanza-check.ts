/** What becomes of a message that a policy allows, denies, drops, changes or puts off, as the clients of a real server see it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Asked, Responder } from '../responder.ts';
import { enterRoom, errorOf, hasBody, isFrom, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function checkStanzas(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let alice: TestClient;
  let bob: TestClient;

  beforeAll(async () => {
    // A budget that no test can use up: what is held back here is let go by the test.
    scene = await startSceneOn(kind, { policy: { notify: true, timeoutsMs: { 'stanza-check': 30_000 } } });
    ({ responder } = scene);
    [alice, bob] = await Promise.all([scene.server.connect('alice'), scene.server.connect('bob')]);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => responder.reset());

  afterEach(() => {
    // A stanza that a test did not account for would be taken for another's.
    expect([...alice.inbox, ...bob.inbox].map(String)).toEqual([]);
  });

  const denied = { type: 'cancel', condition: 'not-allowed', text: 'This is not allowed here' };

  function answer(fields: Readonly<Record<string, unknown>>): void {
    responder.on('stanza-check', () => fields);
  }

  /** What `sender` sends from here on arrives after all that it sent before, so nothing more of that can come. */
  async function nothingElseReaches(recipient: TestClient, sender = alice): Promise<void> {
    answer({ verdict: 'allow' });
    await sender.send(message(recipient.jid, 'marker'));
    await recipient.take('the marker', hasBody('marker'));
    expect(recipient.inbox.map(String)).toEqual([]);
  }

  async function sendAndGetError(stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await alice.send(stanza);
    const reply = await alice.reply(stanza.attrs['id'] ?? '');
    expect(reply.name).toBe(stanza.name);
    expect(reply.attrs).toMatchObject({ type: 'error', from: stanza.attrs['to'], to: alice.jid });
    return errorOf(reply);
  }

  describe('a message that is allowed', () => {
    it('arrives, and the worker was told everything about it', async () => {
      await alice.send(message(bob.bare, 'hello'));

      await bob.take('the message', hasBody('hello'));
      expect(responder.of('stanza-check')).toHaveLength(1);
      const [asked] = responder.of('stanza-check') as [Asked];
      expect(asked).toMatchObject({ v: 1, hook: 'send', from: alice.jid, to: bob.bare, kind: 'message', type: 'chat' });
      expect(bitsOf(String(asked['id']))).toBeGreaterThanOrEqual(96);
      expect(asked['budget_ms']).toBeGreaterThan(29_000);
      expect(asked['budget_ms']).toBeLessThanOrEqual(30_000);
      expect(asked['stanza']).toContain('<body>hello</body>');
    });

    it('arrives when it is larger than what is sent to a worker, which is told that the stanza was left out', async () => {
      const long = 'x'.repeat(70_000);
      await alice.send(message(bob.bare, long));

      await bob.take('the long message', hasBody(long));
      const [asked] = responder.of('stanza-check') as [Asked];
      expect(asked['stanza_omitted']).toBe(true);
      expect(asked).not.toHaveProperty('stanza');
    });

    it('arrives after what the same client sent before, while other clients do not wait', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('stanza-check', async (asked) => {
        if (String(asked['stanza']).includes('first')) await held;
        return { verdict: 'allow' };
      });
      const carol = await scene.server.connect('carol');
      await alice.send(message(bob.bare, 'first'));
      await alice.send(message(bob.bare, 'second'));
      await responder.untilAsked('stanza-check', 1);
      await carol.send(message(bob.bare, 'from carol'));
      await bob.take('what does not wait', hasBody('from carol'));
      expect(bob.inbox).toEqual([]);
      letGo?.();
      const bodies = [await bob.take('one', isFrom(alice.jid)), await bob.take('another', isFrom(alice.jid))];
      expect(bodies.map((stanza) => stanza.getChildText('body'))).toEqual(['first', 'second']);
      await carol.stop();
    });

    it('arrives, and in order, when a client sends a thousand in one go', async () => {
      const bodies = Array.from({ length: 1_000 }, (_unused, n) => `number ${n}`);
      await alice.write(bodies.map((body) => String(message(bob.jid, body))).join(''));

      const got: (string | null)[] = [];
      while (got.length < bodies.length)
        got.push((await bob.take('a message', isFrom(alice.jid))).getChildText('body'));
      expect(got).toEqual(bodies);
    });

    it('arrives although the session of its sender was replaced while it was being checked', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('stanza-check', () => held.then(() => ({ verdict: 'allow' })));
      const first = await scene.server.connect('dave', { resource: 'same' });
      await first.send(message(bob.bare, 'in flight'));
      await responder.untilAsked('stanza-check');
      const second = await scene.server.connect('dave', { resource: 'same' });
      letGo?.();

      await bob.take('what was in flight', hasBody('in flight'));
      await first.closed;
      await second.stop();
      expect(scene.server.output()).not.toMatch(kind.crashed);
    });
  });

  describe('a message that is denied', () => {
    it('reaches nobody, and its sender gets condition and text of the verdict from where it was sent to', async () => {
      const error = { type: 'auth', condition: 'forbidden', text: 'Not to <him> & his' };
      answer({ verdict: 'deny', error });

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual(error);
      await nothingElseReaches(bob);
    });

    it('gets a default error when the verdict has none', async () => {
      answer({ verdict: 'deny' });

      expect(await sendAndGetError(message(bob.jid, 'hello'))).toEqual(denied);
      await nothingElseReaches(bob);
    });

    it('gets a whole stanza error as the worker wrote it', async () => {
      const error =
        '<error type="modify"><policy-violation xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>' +
        '<text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">Rule 7</text><rule xmlns="urn:example:rules" n="7"/></error>';
      answer({ verdict: 'deny', error: { xml: error } });
      const stanza = message(bob.bare, 'hello');
      await alice.send(stanza);

      const reply = await alice.reply(stanza.attrs['id'] ?? '');
      expect(errorOf(reply)).toEqual({ type: 'modify', condition: 'policy-violation', text: 'Rule 7' });
      expect(reply.getChild('error')?.getChild('rule', 'urn:example:rules')?.attrs['n']).toBe('7');
      await nothingElseReaches(bob);
    });

    it.each([
      ['no XML', '<error'],
      ['a document type', '<!DOCTYPE error [<!ENTITY a "aaaa">]><error type="cancel"><gone>&a;</gone></error>'],
      ['no condition', '<error type="cancel"/>'],
      [
        'two conditions',
        '<error type="cancel"><gone xmlns="X"/><conflict xmlns="X"/></error>'.replaceAll(
          'X',
          'urn:ietf:params:xml:ns:xmpp-stanzas',
        ),
      ],
      ['an unknown condition', '<error type="cancel"><sulk xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'],
      ['an unknown type', '<error type="sulk"><gone xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'],
      ['another element', '<message/>'],
      [
        'a depth of 10,000',
        `<error type="cancel"><gone xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>${'<a>'.repeat(10_000)}${'</a>'.repeat(10_000)}</error>`,
      ],
    ])('stays denied, with the default error, when the error that came has %s', async (_what, error) => {
      answer({ verdict: 'deny', error: { xml: error } });

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual(denied);
      await nothingElseReaches(bob);
    });

    it('stays denied, with what can be used of its error, when the condition is unknown', async () => {
      answer({ verdict: 'deny', error: { type: 'auth', condition: 'sulk', text: 'No' } });

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual({
        type: 'auth',
        condition: 'not-allowed',
        text: 'No',
      });
      await nothingElseReaches(bob);
    });

    it('is in no archive and on none of the other devices of either side', async () => {
      const tablet = await scene.server.connect('alice', { resource: 'tablet' });
      await tablet.ask('set', xml('enable', { xmlns: 'urn:xmpp:carbons:2' }));
      alice.inbox.splice(0, alice.inbox.length); // the tablet's presence
      answer({ verdict: 'deny' });

      await sendAndGetError(message(bob.bare, 'secret'));
      await tablet.settle();
      expect(tablet.inbox.filter((stanza) => stanza.name === 'message')).toEqual([]);
      for (const client of [alice, bob]) {
        await client.ask('set', xml('query', { xmlns: 'urn:xmpp:mam:2', queryid: 'q' }));
        const archived = client.inbox.splice(0, client.inbox.length).map(String);
        expect(archived.filter((stanza) => stanza.includes('secret'))).toEqual([]);
      }
      await tablet.stop();
      await alice.take('that the tablet is gone', isFrom(tablet.jid));
    });

    it('causes no error when nobody sent it knowingly: a chat state, a receipt, a marker', async () => {
      answer({ verdict: 'deny' });
      for (const child of [
        xml('composing', { xmlns: 'http://jabber.org/protocol/chatstates' }),
        xml('received', { xmlns: 'urn:xmpp:receipts', id: '1' }),
        xml('displayed', { xmlns: 'urn:xmpp:chat-markers:0', id: '1' }),
      ]) {
        await alice.send(xml('message', { to: bob.bare, type: 'chat', id: 'notice' }, child));
      }
      await responder.untilAsked('stanza-check', 3);
      await alice.settle();

      expect(alice.inbox.map(String)).toEqual([]);
      await nothingElseReaches(bob);
    });

    it('is told to its recipient when the verdict has a message for him', async () => {
      const notify =
        '<message type="headline" from="mallory@elsewhere" to="carol@elsewhere"><body>Somebody tried</body></message>';
      answer({ verdict: 'deny', notify });

      await sendAndGetError(message(bob.bare, 'hello'));
      const notice = await bob.take('the notification', hasBody('Somebody tried'));
      expect(notice.attrs).toMatchObject({ type: 'headline', from: alice.jid, to: bob.bare });
      await nothingElseReaches(bob);
    });

    it('is told to its recipient as an error when the verdict has an error for him', async () => {
      const notify = '<error type="cancel"><gone xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>';
      answer({ verdict: 'deny', notify });

      await sendAndGetError(message(bob.jid, 'hello'));
      const notice = await bob.take('the notification', isFrom(alice.jid));
      expect(errorOf(notice)).toEqual({ type: 'cancel', condition: 'gone' });
      await nothingElseReaches(bob);
    });

    it.each(['<iq type="set" id="1"/>', '<presence/>', 'rubbish', '<!DOCTYPE x><message/>'])(
      'is told to nobody when the notification is %s',
      async (notify) => {
        answer({ verdict: 'deny', notify });

        await sendAndGetError(message(bob.jid, 'hello'));
        await nothingElseReaches(bob);
      },
    );
  });

  describe('a message that is dropped', () => {
    it('reaches nobody, and nobody hears of it', async () => {
      answer({ verdict: 'drop' });
      await alice.send(message(bob.bare, 'hello'));
      await responder.untilAsked('stanza-check');
      await alice.settle();

      expect(alice.inbox.map(String)).toEqual([]);
      await nothingElseReaches(bob);
    });
  });

  describe('a message that is changed', () => {
    const replaced = (asked: Asked, change: (stanza: string) => string): Readonly<Record<string, unknown>> => ({
      verdict: 'modify',
      stanza: change(String(asked['stanza'])),
    });

    it('arrives as the worker wrote it', async () => {
      responder.on('stanza-check', (asked) =>
        replaced(asked, (stanza) =>
          stanza.replace('<body>damn</body>', '<body>d**n</body><x xmlns="urn:example:seen"/>'),
        ),
      );
      const sent = message(bob.bare, 'damn');
      await alice.send(sent);

      const got = await bob.take('the message', isFrom(alice.jid));
      expect(got.getChildText('body')).toBe('d**n');
      expect(got.getChild('x', 'urn:example:seen')).toBeDefined();
      expect(got.attrs).toMatchObject({ to: bob.bare, id: sent.attrs['id'], type: 'chat' });
    });

    it.each([
      ['another recipient', (stanza: string) => stanza.replace("to='bob@localhost'", "to='carol@localhost'")],
      ['another sender', (stanza: string) => stanza.replace("from='alice@localhost/", "from='carol@localhost/")],
      ['another id', (stanza: string) => stanza.replace(/ id='[^']*'/, " id='other'")],
      ['another name', (stanza: string) => stanza.replaceAll('message', 'presence')],
      ['an error', (stanza: string) => stanza.replace("type='chat'", "type='error'")],
      ['no XML', () => '<message'],
      ['nothing', () => ''],
    ])('takes the fallback when the change makes it %s', async (_what, change) => {
      responder.on('stanza-check', (asked) => {
        const answered = replaced(asked, change);
        expect(answered['stanza']).not.toBe(asked['stanza']);
        return answered;
      });
      await alice.send(message(bob.bare, 'as it was'));

      const got = await bob.take('the message as it was', hasBody('as it was'));
      expect(got.attrs['type']).toBe('chat');
    });
  });

  describe('a message that is put off', () => {
    it('comes back with an error that says to try again', async () => {
      answer({ verdict: 'defer' });

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual({
        type: 'wait',
        condition: 'resource-constraint',
        text: 'Try again later',
      });
      await nothingElseReaches(bob);
    });

    it('says so in the words of the verdict, but never that it is final', async () => {
      answer({ verdict: 'defer', error: { type: 'cancel', condition: 'policy-violation', text: 'Slowly' } });

      expect(await sendAndGetError(message(bob.bare, 'hello'))).toEqual({
        type: 'wait',
        condition: 'policy-violation',
        text: 'Slowly',
      });
      await nothingElseReaches(bob);
    });
  });

  describe('a message to somebody whom its sender blocks', () => {
    it('is refused without a question', async () => {
      const blocking = 'urn:xmpp:blocking';
      const block = (name: string): Promise<Element> =>
        alice.ask('set', xml(name, { xmlns: blocking }, xml('item', { jid: 'dora@localhost' })));
      await block('block');
      expect(await sendAndGetError(message('dora@localhost', 'hello'))).toMatchObject({ condition: 'not-acceptable' });
      expect(responder.of('stanza-check')).toEqual([]);
      await block('unblock');
      await alice.settle();
      alice.inbox.splice(0, alice.inbox.length); // the news of both, as each server has it
    });
  });

  describe('a message in a room', () => {
    const room = 'hall@rooms.localhost';
    let carol: TestClient;

    beforeAll(async () => {
      carol = await scene.server.connect('carol');
      await enterRoom(alice, room, 'a');
      await enterRoom(bob, room, 'b');
      await enterRoom(carol, room, 'c');
      for (const client of [alice, bob, carol]) {
        await client.settle();
        client.inbox.splice(0, client.inbox.length);
      }
    });

    afterAll(async () => {
      for (const client of [alice, bob]) {
        await client.send(xml('presence', { to: `${room}/x`, type: 'unavailable' }));
        await client.take(
          'that it has left',
          (stanza) => stanza.name === 'presence' && stanza.toString().includes('110'),
        );
        await client.settle();
        client.inbox.splice(0, client.inbox.length);
      }
      await carol.stop();
    });

    it('is checked once, however many are in the room', async () => {
      await alice.send(message(room, 'to all', { type: 'groupchat' }));

      for (const client of [alice, bob, carol]) await client.take('the message', hasBody('to all'));
      expect(responder.of('stanza-check')).toHaveLength(1);
      expect(responder.of('stanza-check')[0]).toMatchObject({ from: alice.jid, to: room, type: 'groupchat' });
    });

    it('reaches nobody when it is denied, and its sender stays in the room', async () => {
      answer({ verdict: 'deny' });

      expect(await sendAndGetError(message(room, 'to all', { type: 'groupchat' }))).toEqual(denied);
      answer({ verdict: 'allow' });
      await alice.send(message(room, 'after it', { type: 'groupchat' }));
      for (const client of [alice, bob, carol]) {
        await client.take('the next message', hasBody('after it'));
        expect(client.inbox.map(String)).toEqual([]);
      }
    });

    it('is checked once when it is for one occupant', async () => {
      await alice.send(message(`${room}/b`, 'between us'));

      await bob.take('the private message', hasBody('between us'));
      expect(responder.of('stanza-check')).toHaveLength(1);
      expect(responder.of('stanza-check')[0]).toMatchObject({ from: alice.jid, to: `${room}/b`, type: 'chat' });
    });

    it('is not for one occupant when that is denied', async () => {
      answer({ verdict: 'deny' });

      expect(await sendAndGetError(message(`${room}/b`, 'between us'))).toEqual(denied);
      await nothingElseReaches(bob);
    });
  });
}

/** How many random bits an id has room for, which is hexadecimal or base64. */
function bitsOf(id: string): number {
  expect(id).toMatch(/^[\w+/=-]{1,64}$/);
  return id.length * (/^[0-9a-f]+$/.test(id) ? 4 : 6);
}
