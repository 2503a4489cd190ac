/**
 * Subscriptions where the application owns the relationships, at real servers: one whose hosts ask, and another that
 * does not.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freePorts } from '../free-port.ts';
import { startNatsServer } from '../nats-server.ts';
import type { NatsServer } from '../nats-server.ts';
import { startResponder } from '../responder.ts';
import type { Answer, Asked, Responder } from '../responder.ts';
import { holdRosters, logIn } from '../roster-responder.ts';
import type { HeldItem, HeldRosters } from '../roster-responder.ts';
import { isPresence, isPush, isPushOf, itemsIn, rosterQuery } from '../roster-scene.ts';
import { connectComponent } from '../xmpp-component.ts';
import { errorOf, hasBody, message, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { PolicyOptions, XmppServer } from '../xmpp-server.ts';

export function askAboutSubscriptions(kind: ServerKind): void {
  let broker: NatsServer;
  let responder: Responder;
  let rosters: HeldRosters;
  let ours: XmppServer;
  let theirs: XmppServer;
  /** At home at the other server. */
  let rita: TestClient;

  beforeAll(async () => {
    const [ourPort, theirPort] = (await freePorts(2)) as [number, number];
    broker = await startNatsServer();
    responder = await startResponder(broker.url);
    const timeoutsMs = { 'stanza-check': 30_000, 'roster-refresh': 30_000, 'roster-subscription': 30_000 };
    const policy: PolicyOptions = { checks: [], roster: true, timeoutsMs };
    [ours, theirs] = await Promise.all([
      kind.start({
        natsUrl: broker.url,
        host: 'ours.test',
        s2sPort: ourPort,
        peers: { 'theirs.test': theirPort },
        policy,
        furtherHosts: [
          { host: 'checked.test', policy: { checks: ['stanza-check'], stanzaKinds: ['presence'] } },
          {
            host: 'hasty.test',
            policy: {
              timeoutsMs: { ...timeoutsMs, 'roster-subscription': 50 },
              fallback: { 'roster-subscription': { local: 'deny', remote: 'allow' } },
            },
          },
        ],
        components: { 'gateway.test': 'secret' },
      }),
      kind.start({
        natsUrl: broker.url,
        host: 'theirs.test',
        s2sPort: theirPort,
        peers: { 'ours.test': ourPort, 'hasty.test': ourPort },
        warder: false,
      }),
    ]);
    await ours.waitForOutput(/Connected to NATS/);
    rita = await logIn(theirs, 'rita', 'home');
  });

  afterAll(async () => {
    await Promise.all([ours?.stop(), theirs?.stop()]);
    await responder?.stop();
    await broker?.stop();
  });

  beforeEach(() => {
    responder.reset();
    rosters = holdRosters(responder);
    rita.inbox.length = 0;
  });

  interface Somebody {
    readonly bare: string;
    readonly phone: TestClient;
    readonly tablet: TestClient;
    readonly devices: readonly [TestClient, TestClient];
  }

  let people = 0;

  /** Somebody whom no other test knows, on two devices. */
  async function logInSomebody(items: readonly HeldItem[] = [], domain = 'ours.test'): Promise<Somebody> {
    people += 1;
    const username = `user${people}`;
    rosters.put(`${username}@${domain}`, items);
    const phone = await logIn(ours, username, 'phone', domain);
    const tablet = await logIn(ours, username, 'tablet', domain);
    for (const device of [phone, tablet]) await device.settle();
    for (const device of [phone, tablet]) device.inbox.length = 0;
    return { bare: phone.bare, phone, tablet, devices: [phone, tablet] };
  }

  function subscription(type: string, to: string, text?: string): Element {
    return xml(
      'presence',
      { type, to, id: `${type}-to-${to}` },
      ...(text === undefined ? [] : [xml('status', {}, text)]),
    );
  }

  /** The questions so far, in their order, without what is the same in all. */
  function questions(): Record<string, unknown>[] {
    return responder.of('roster-subscription').map(({ user, contact, direction, action, text }) => ({
      user,
      contact,
      direction,
      action,
      ...(text === undefined ? {} : { text }),
    }));
  }

  /** Answers as given in one direction, and allows the other. */
  function answer(direction: 'in' | 'out', given: (asked: Asked) => Answer | Promise<Answer>): void {
    responder.on('roster-subscription', (asked) =>
      asked['direction'] === direction ? given(asked) : { verdict: 'allow' },
    );
  }

  /** All that the sender had sent to this one has arrived: both ways, because an answer may set the other going. */
  async function nothingIsUnderWay(one: TestClient, other: TestClient): Promise<void> {
    for (const [from, to] of [
      [one, other],
      [other, one],
      [one, other],
    ] as const) {
      await from.send(message(to.jid, 'marker'));
      await to.take('the marker', hasBody('marker'));
    }
  }

  async function expectNothing(...clients: TestClient[]): Promise<void> {
    for (const client of clients) {
      await client.settle();
      expect(client.inbox.filter(({ name }) => name !== 'message').map(String)).toEqual([]);
    }
  }

  describe('a request between two users here', () => {
    it('is two questions, out of the one and in to the other, and then before the other on all devices', async () => {
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare, 'It is me & nobody else'));

      const both = { action: 'subscribe', text: 'It is me & nobody else' };
      for (const device of bob.devices) {
        const request = await device.take('the request', isPresence(alice.bare, 'subscribe'));
        expect(request.getChildText('status')).toBe(both.text);
      }
      expect(questions()).toEqual([
        { user: alice.bare, contact: bob.bare, direction: 'out', ...both },
        { user: bob.bare, contact: alice.bare, direction: 'in', ...both },
      ]);
      for (const device of alice.devices) {
        await device.take('the push', isPushOf(bob.bare, { subscription: 'none', ask: 'subscribe' }));
      }
    });

    it('ends in presence, when the other grants it and may', async () => {
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await bob.tablet.take('the request', isPresence(alice.bare, 'subscribe'));
      await bob.tablet.send(subscription('subscribed', alice.bare));

      for (const device of alice.devices) {
        await device.take('that it is granted', isPresence(bob.bare, 'subscribed'));
        await device.take('the push', isPushOf(bob.bare, { subscription: 'to' }));
        for (const { jid } of bob.devices) await device.take('presence', isPresence(jid));
      }
      for (const device of bob.devices) await device.take('the push', isPushOf(alice.bare, { subscription: 'from' }));
      await responder.untilAsked('roster-subscription', 4);
      expect(questions().slice(2)).toEqual([
        { user: bob.bare, contact: alice.bare, direction: 'out', action: 'subscribed' },
        { user: alice.bare, contact: bob.bare, direction: 'in', action: 'subscribed' },
      ]);
    });

    it('to a full JID is one to the account', async () => {
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.phone.jid));

      await bob.tablet.take('the request', isPresence(alice.bare, 'subscribe'));
      expect(questions().map(({ contact }) => contact)).toEqual([bob.bare, alice.bare]);
    });

    it('to an account that does not exist is no question for it', async () => {
      const alice = await logInSomebody();
      await alice.phone.send(subscription('subscribe', 'nobody@ours.test'));
      await alice.phone.take('the push', isPushOf('nobody@ours.test'));
      await alice.phone.settle();

      expect(questions()).toEqual([
        { user: alice.bare, contact: 'nobody@ours.test', direction: 'out', action: 'subscribe' },
      ]);
    });

    it('is repeated by the server at the next login, and neither asked about nor shown again', async () => {
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      for (const device of bob.devices) await device.take('the request', isPresence(alice.bare, 'subscribe'));
      rosters.put(alice.bare, [{ jid: bob.bare, subscription: 'none', ask: 'subscribe' }]);
      await alice.phone.stop();
      const again = await logIn(ours, alice.bare.split('@')[0] ?? '', 'phone');
      await nothingIsUnderWay(again, bob.phone);

      expect(questions()).toHaveLength(2);
      expect(bob.phone.inbox.filter(({ attrs }) => attrs['type'] === 'subscribe').map(String)).toEqual([]);
    });

    it('is before him when he comes, and again at each login, until he answers it, whatever the roster says of it', async () => {
      const [alice, username] = [await logInSomebody(), `absent${people}`];
      await ours.register(username);
      const bob = `${username}@ours.test`;
      await alice.phone.send(subscription('subscribe', bob, 'Are you there?'));
      await alice.phone.take('the push', isPushOf(bob, { ask: 'subscribe' }));
      await responder.untilAsked('roster-subscription', 2);
      await alice.phone.settle();

      for (const login of ['first', 'second']) {
        const phone = await ours.connect(username, { resource: login, presence: false });
        await phone.ask('get', rosterQuery());
        await phone.send(xml('presence'));
        const request = await phone.take('the request', isPresence(alice.bare, 'subscribe'));
        expect(request.getChildText('status')).toBe('Are you there?');
        if (login === 'second') {
          await phone.send(subscription('unsubscribed', alice.bare));
          await alice.phone.take('that it is refused', isPresence(bob, 'unsubscribed'));
        }
        await phone.stop();
      }
      const later = await logIn(ours, username, 'third');
      expect(later.inbox.filter(({ attrs }) => attrs['type'] === 'subscribe').map(String)).toEqual([]);
    });

    it('to somebody who has granted it before is granted again by the server without a question for him', async () => {
      const alice = await logInSomebody();
      const bob = await logInSomebody([{ jid: alice.bare, subscription: 'from' }]);
      await alice.phone.send(subscription('subscribe', bob.bare));

      await alice.tablet.take('that it is granted', isPresence(bob.bare, 'subscribed'));
      await alice.tablet.take('the push', isPushOf(bob.bare, { subscription: 'to' }));
      await responder.untilAsked('roster-subscription', 2);
      expect(questions()).toEqual([
        { user: alice.bare, contact: bob.bare, direction: 'out', action: 'subscribe' },
        { user: alice.bare, contact: bob.bare, direction: 'in', action: 'subscribed' },
      ]);
      await bob.phone.settle();
      expect(bob.phone.inbox.filter(({ attrs }) => attrs['type'] === 'subscribe').map(String)).toEqual([]);
    });

    it('goes on although its sender is gone by the time of the answer', async () => {
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      answer('out', () => held.then(() => ({ verdict: 'allow' })));
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await responder.untilAsked('roster-subscription');
      await logIn(ours, alice.bare.split('@')[0] ?? '', 'phone');
      if (kind.receivesWhileAsking) await alice.phone.closed;
      letGo();

      await bob.phone.take('the request', isPresence(alice.bare, 'subscribe'));
      await alice.tablet.take('the push', isPushOf(bob.bare, { ask: 'subscribe' }));
      expect(questions()).toHaveLength(2);
    });

    it('is also checked as any presence where presence is', async () => {
      const alice = await logInSomebody([], 'checked.test');
      const bob = await logInSomebody();
      responder.on('stanza-check', ({ type }) => ({ verdict: type === 'subscribe' ? 'deny' : 'allow' }));
      await alice.phone.send(subscription('subscribe', bob.bare));
      expect((await alice.phone.reply(`subscribe-to-${bob.bare}`)).attrs['type']).toBe('error');
      expect(questions()).toEqual([]);

      responder.on('stanza-check', () => ({ verdict: 'allow' }));
      answer('out', () => ({ verdict: 'deny' }));
      await alice.phone.send(subscription('subscribe', bob.bare));
      expect((await alice.phone.reply(`subscribe-to-${bob.bare}`)).attrs['type']).toBe('error');
      expect(questions()).toHaveLength(1);
      await expectNothing(...alice.devices, ...bob.devices);
    });
  });

  const unable = { type: 'wait', condition: 'resource-constraint' };
  const refused = { type: 'cancel', condition: 'not-allowed', text: 'This subscription is not allowed' };
  const refusals: [string, Answer, object][] = [
    ['denied', { verdict: 'deny' }, refused],
    [
      'denied with an error of its own',
      { verdict: 'deny', error: { type: 'auth', condition: 'forbidden', text: 'No strangers' } },
      { type: 'auth', condition: 'forbidden', text: 'No strangers' },
    ],
    ['dropped', { verdict: 'drop' }, refused],
    ['deferred', { verdict: 'defer' }, unable],
    ['not answered', { failure: 'source-unavailable', text: '' }, unable],
    ['modified, which nobody can', { verdict: 'modify', stanza: '<presence/>' }, unable],
    ['refused as malformed', { failure: 'bad-request', text: '' }, refused],
  ];

  describe('on its way out', () => {
    it.each(refusals)(
      'a request that is %s comes back with an error, and changes nothing',
      async (_what, given, error) => {
        answer('out', () => given);
        const [alice, bob] = [await logInSomebody(), await logInSomebody()];
        for (const to of [bob.bare, bob.phone.jid]) {
          await alice.phone.send(subscription('subscribe', to));
          const reply = await alice.phone.reply(`subscribe-to-${to}`);
          expect(reply.name).toBe('presence');
          expect(reply.attrs).toMatchObject({ type: 'error', from: to });
          expect(errorOf(reply)).toEqual({ text: expect.any(String) as string, ...error });
        }

        expect(questions()).toHaveLength(2);
        await nothingIsUnderWay(alice.phone, bob.phone);
        await expectNothing(...alice.devices, ...bob.devices);
        expect(itemsIn(await alice.phone.ask('get', rosterQuery()))).toEqual([]);
      },
    );

    it('a grant that is denied comes back with an error, and the other is not let in', async () => {
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await alice.phone.take('the push', isPush);
      await bob.phone.take('the request', isPresence(alice.bare, 'subscribe'));
      await nothingIsUnderWay(alice.phone, bob.phone);
      await bob.tablet.settle();
      for (const device of [...alice.devices, ...bob.devices]) device.inbox.length = 0;
      answer('out', () => ({ verdict: 'deny' }));
      await bob.phone.send(subscription('subscribed', alice.bare));

      expect(errorOf(await bob.phone.reply(`subscribed-to-${alice.bare}`))).toEqual(refused);
      await nothingIsUnderWay(bob.phone, alice.phone);
      await expectNothing(alice.phone, ...bob.devices);
      expect(itemsIn(await bob.phone.ask('get', rosterQuery()))).toEqual([]);
    });

    it('what a client sends behind a request waits for its answer and keeps its place', async () => {
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      answer('out', () => held.then(() => ({ verdict: 'deny' })));
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await alice.phone.send(message(alice.tablet.jid, 'behind'));
      await responder.untilAsked('roster-subscription');
      if (kind.receivesWhileAsking) {
        await bob.phone.send(message(alice.phone.jid, 'meanwhile'));
        await alice.phone.take('what is sent to it meanwhile', hasBody('meanwhile'));
      }
      await expectNothing(alice.tablet);
      expect(alice.tablet.inbox.map(String)).toEqual([]);
      letGo();

      await alice.phone.reply(`subscribe-to-${bob.bare}`);
      await alice.tablet.take('the message', hasBody('behind'));
    });

    it('a request without an answer takes the fallback', async () => {
      responder.on('roster-subscription', () => undefined);
      const alice = await logInSomebody([], 'hasty.test');
      await alice.phone.send(subscription('subscribe', rita.bare));

      expect(errorOf(await alice.phone.reply(`subscribe-to-${rita.bare}`))).toEqual(refused);
      await ours.waitForOutput(/roster-subscription failed: timeout, so: deny/);
    });
  });

  describe('on its way in', () => {
    it.each(refusals.filter(([what]) => what.startsWith('denied') || what.startsWith('refused')))(
      'a request that is %s is taken back at its sender, and never shown',
      async (_what, given) => {
        answer('in', () => given);
        const [alice, bob] = [await logInSomebody(), await logInSomebody()];
        await alice.phone.send(subscription('subscribe', bob.bare));

        for (const device of alice.devices) {
          await device.take('the push', isPushOf(bob.bare, { subscription: 'none', ask: 'subscribe' }));
          await device.take('that it is refused', isPresence(bob.bare, 'unsubscribed'));
          await device.take('the push', isPushOf(bob.bare, { subscription: 'none' }));
        }
        await nothingIsUnderWay(alice.phone, bob.phone);
        await expectNothing(...alice.devices, ...bob.devices);
        const later = await logIn(ours, bob.bare.split('@')[0] ?? '', 'later');
        expect(later.inbox.filter(({ attrs }) => attrs['type'] === 'subscribe').map(String)).toEqual([]);
        await responder.untilAsked('roster-subscription', 3);
        expect(questions()[2]).toEqual({
          user: alice.bare,
          contact: bob.bare,
          direction: 'in',
          action: 'unsubscribed',
        });
      },
    );

    it('a request that is deferred comes back as one to try again, stays open, and is asked about when it is repeated', async () => {
      answer('in', () => ({ verdict: 'defer' }));
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));

      const error = await alice.phone.take('the error', isPresence(bob.bare, 'error'));
      expect(errorOf(error)).toMatchObject(unable);
      await expectNothing(...bob.devices);
      expect(itemsIn(await alice.phone.ask('get', rosterQuery()))).toEqual([
        { jid: bob.bare, subscription: 'none', ask: 'subscribe', groups: [] },
      ]);

      answer('in', () => ({ verdict: 'allow' }));
      rosters.put(alice.bare, [{ jid: bob.bare, subscription: 'none', ask: 'subscribe' }]);
      await alice.phone.stop();
      const again = await logIn(ours, alice.bare.split('@')[0] ?? '', 'phone');
      if (!kind.repeatsRequests) await again.send(subscription('subscribe', bob.bare));
      await bob.phone.take('the request', isPresence(alice.bare, 'subscribe'));
      const repeated = kind.repeatsRequests ? ['in'] : ['out', 'in'];
      expect(questions().map(({ direction }) => direction)).toEqual(['out', 'in', ...repeated]);
    });

    it('a request that is dropped is heard of no more', async () => {
      answer('in', () => ({ verdict: 'drop' }));
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await responder.untilAsked('roster-subscription', 2);
      await nothingIsUnderWay(alice.phone, bob.phone);

      await expectNothing(...bob.devices);
      expect(alice.phone.inbox.filter(({ name }) => name === 'presence').map(String)).toEqual([]);
    });

    it('a request that is taken back while it is being asked about is never shown, whatever the answer', async () => {
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('roster-subscription', ({ direction, action }) =>
        direction === 'in' && action === 'subscribe' ? held.then(() => ({ verdict: 'allow' })) : { verdict: 'allow' },
      );
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await responder.untilAsked('roster-subscription', 2);
      await alice.phone.send(subscription('unsubscribe', bob.bare));
      await responder.untilAsked('roster-subscription', 4);
      letGo();
      await nothingIsUnderWay(alice.phone, bob.phone);
      await nothingIsUnderWay(alice.phone, bob.phone);

      await expectNothing(...bob.devices);
    });

    it('the same request, sent again while it is being asked about, is asked about and shown once', async () => {
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      answer('in', () => held.then(() => ({ verdict: 'allow' })));
      const [alice, bob] = [await logInSomebody(), await logInSomebody()];
      await alice.phone.send(subscription('subscribe', bob.bare));
      await alice.tablet.send(subscription('subscribe', bob.bare));
      await responder.untilAsked('roster-subscription', 3);
      letGo();
      await bob.phone.take('the request', isPresence(alice.bare, 'subscribe'));
      await nothingIsUnderWay(alice.phone, bob.phone);

      expect(questions().filter(({ direction }) => direction === 'in')).toHaveLength(1);
      expect(bob.phone.inbox.map(String)).toEqual([]);
    });
  });

  describe('taking a subscription back', () => {
    it('passes at once in both directions while nobody answers, and is told', async () => {
      responder.on('roster-subscription', () => undefined);
      const alice = await logInSomebody();
      const bob = await logInSomebody([{ jid: alice.bare, subscription: 'both' }]);
      rosters.put(alice.bare, [{ jid: bob.bare, subscription: 'both' }]);
      const later = await logIn(ours, alice.bare.split('@')[0] ?? '', 'later');
      await alice.phone.take('the push', isPushOf(bob.bare, { subscription: 'both' }));
      await later.send(subscription('unsubscribe', bob.bare));
      await later.send(subscription('unsubscribed', bob.bare));

      await alice.phone.take('the push', isPushOf(bob.bare, { subscription: 'none' }));
      for (const device of bob.devices) {
        await device.take('the push', isPushOf(alice.bare, { subscription: 'none' }));
        await device.take('that alice is gone', isPresence(alice.phone.jid, 'unavailable'));
      }
      await responder.untilAsked('roster-subscription', 4);
      expect(questions()).toEqual([
        { user: alice.bare, contact: bob.bare, direction: 'out', action: 'unsubscribe' },
        { user: bob.bare, contact: alice.bare, direction: 'in', action: 'unsubscribe' },
        { user: alice.bare, contact: bob.bare, direction: 'out', action: 'unsubscribed' },
        { user: bob.bare, contact: alice.bare, direction: 'in', action: 'unsubscribed' },
      ]);
    });

    it('passes although it is denied', async () => {
      responder.on('roster-subscription', () => ({ verdict: 'deny' }));
      const alice = await logInSomebody();
      const bob = await logInSomebody([{ jid: alice.bare, subscription: 'from' }]);
      await bob.phone.send(subscription('unsubscribed', alice.bare));

      await bob.tablet.take('the push', isPushOf(alice.bare, { subscription: 'none' }));
      await bob.phone.settle();
      expect(bob.phone.inbox.filter(({ attrs }) => attrs['type'] === 'error').map(String)).toEqual([]);
      await responder.untilAsked('roster-subscription', 2);
    });

    it('is told before the next question about the two is asked', async () => {
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('roster-subscription', ({ action }) =>
        action === 'unsubscribe' ? held.then(() => ({ verdict: 'allow' })) : { verdict: 'deny' },
      );
      const alice = await logInSomebody();
      await alice.phone.send(subscription('unsubscribe', rita.bare));
      await alice.phone.send(subscription('subscribe', rita.bare));
      await responder.untilAsked('roster-subscription');
      await alice.phone.send(message(alice.tablet.jid, 'behind'));
      await alice.tablet.settle();
      expect(questions().map(({ action }) => action)).toEqual(['unsubscribe']);
      letGo();

      await alice.phone.reply(`subscribe-to-${rita.bare}`);
      expect(questions().map(({ action }) => action)).toEqual(['unsubscribe', 'subscribe']);
      await alice.tablet.take('the message', hasBody('behind'));
    });

    it('is logged when it could not be told', async () => {
      responder.on('roster-subscription', () => ({ failure: 'overloaded', text: '' }));
      const alice = await logInSomebody();
      await alice.phone.send(subscription('unsubscribe', rita.bare));

      await ours.waitForOutput(/roster-subscription failed: overloaded, so: not told/);
    });
  });

  describe('between servers', () => {
    it('a request from another server is asked about, and holds up nobody of that server', async () => {
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      answer('in', () => held.then(() => ({ verdict: 'allow' })));
      const alice = await logInSomebody();
      await rita.send(subscription('subscribe', alice.bare, 'Hello'));
      await responder.untilAsked('roster-subscription');
      await rita.send(message(alice.phone.jid, 'meanwhile'));
      await alice.phone.take('what is sent meanwhile', hasBody('meanwhile'));
      await expectNothing(...alice.devices);
      letGo();

      for (const device of alice.devices) await device.take('the request', isPresence(rita.bare, 'subscribe'));
      expect(questions()).toEqual([
        { user: alice.bare, contact: rita.bare, direction: 'in', action: 'subscribe', text: 'Hello' },
      ]);
      await alice.phone.send(subscription('subscribed', rita.bare));
      await rita.take('that it is granted', isPresence(alice.bare, 'subscribed'));
      await rita.take('presence', isPresence(alice.tablet.jid));
    });

    it('a denied request from another server is taken back there, and never shown', async () => {
      answer('in', () => ({ verdict: 'deny' }));
      const alice = await logInSomebody();
      await rita.send(subscription('subscribe', alice.bare));

      await rita.take('the push', isPushOf(alice.bare, { ask: 'subscribe' }));
      await rita.take('that it is refused', isPresence(alice.bare, 'unsubscribed'));
      await rita.take('the push', isPushOf(alice.bare, { subscription: 'none' }));
      await nothingIsUnderWay(rita, alice.phone);
      await expectNothing(...alice.devices);
    });

    it('a request to another server leaves when it may, and what it changes there and here is told', async () => {
      const alice = await logInSomebody();
      await alice.phone.send(subscription('subscribe', rita.bare));
      await rita.take('the request', isPresence(alice.bare, 'subscribe'));
      await rita.send(subscription('subscribed', alice.bare));
      await alice.tablet.take('presence', isPresence(rita.jid));
      await rita.send(subscription('unsubscribed', alice.bare));

      for (const device of alice.devices) {
        await device.take('the push', isPushOf(rita.bare, { subscription: 'to' }));
        await device.take('that it is over', isPresence(rita.bare, 'unsubscribed'));
        await device.take('the push', isPushOf(rita.bare, { subscription: 'none' }));
      }
      await responder.untilAsked('roster-subscription', 3);
      expect(questions()).toEqual([
        { user: alice.bare, contact: rita.bare, direction: 'out', action: 'subscribe' },
        { user: alice.bare, contact: rita.bare, direction: 'in', action: 'subscribed' },
        { user: alice.bare, contact: rita.bare, direction: 'in', action: 'unsubscribed' },
      ]);
    });

    it('a request to another server does not leave when it is denied', async () => {
      answer('out', () => ({ verdict: 'deny' }));
      const alice = await logInSomebody();
      await alice.phone.send(subscription('subscribe', rita.bare));

      expect(errorOf(await alice.phone.reply(`subscribe-to-${rita.bare}`))).toEqual(refused);
      await nothingIsUnderWay(alice.phone, rita);
      await expectNothing(rita, ...alice.devices);
    });

    it('a request without an answer takes the fallback for whose it is: other servers, or a gateway of ours', async () => {
      responder.on('roster-subscription', () => undefined);
      const alice = await logInSomebody([], 'hasty.test');
      const gateway = await connectComponent(ours.componentPort, 'gateway.test', 'secret');
      gateway.send(xml('presence', { type: 'subscribe', from: 'gina@gateway.test', to: alice.bare }));
      await rita.send(subscription('subscribe', alice.bare));

      await gateway.take('that it is refused', isPresence(alice.bare, 'unsubscribed'));
      await alice.phone.take('the request', isPresence(rita.bare, 'subscribe'));
      await expectNothing(alice.phone);
      gateway.stop();
    });
  });

  describe('from a gateway', () => {
    it('a request is asked about, shown when it may be, and taken back at once when it may not', async () => {
      const alice = await logInSomebody();
      const gateway = await connectComponent(ours.componentPort, 'gateway.test', 'secret');
      answer('in', async ({ contact, action }) => {
        if (contact === 'greta@gateway.test' && action === 'subscribe')
          await responder.untilAsked('roster-subscription', 4);
        return { verdict: contact === 'eve@gateway.test' ? 'deny' : 'allow' };
      });
      const from = (sender: string, type: string): Element =>
        xml('presence', { type, from: `${sender}@gateway.test`, to: alice.bare });
      gateway.send(from('eve', 'subscribe'), from('gina', 'subscribe'), from('greta', 'subscribe'));
      gateway.send(from('greta', 'unsubscribe'));

      await gateway.take('that it is refused', isPresence(alice.bare, 'unsubscribed'));
      for (const device of alice.devices)
        await device.take('the request', isPresence('gina@gateway.test', 'subscribe'));
      gateway.send(xml('message', { from: 'greta@gateway.test', to: alice.phone.jid }, xml('body', {}, 'behind')));
      await alice.phone.take('the message', hasBody('behind'));
      await alice.phone.settle();
      expect(questions()).toHaveLength(4);
      expect(alice.phone.inbox.filter(({ attrs }) => attrs['type'] === 'subscribe').map(String)).toEqual([]);
      gateway.stop();
    });
  });

  it(`nothing in all this went wrong inside ${kind.name}`, () => {
    for (const server of [ours, theirs]) {
      expect(server.output()).not.toMatch(kind.crashed);
      expect(server.output()).not.toMatch(/was lost|Could not act/);
    }
  });
}
