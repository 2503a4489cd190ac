/** Whether a client that has authenticated with a real server gets a session, and that the workers hear of removed accounts. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { Responder } from '../responder.ts';
import { named, openStream } from '../raw-xmpp.ts';
import { hasBody, message, xml } from '../xmpp-client.ts';
import type { ServerKind } from '../server-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function checkSessions(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;

  beforeAll(async () => {
    scene = await startSceneOn(kind, {
      policy: { timeoutsMs: { 'session-check': 30_000 } },
      furtherHosts: [{ host: 'other.test', resumption: true }],
    });
    ({ responder } = scene);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => responder.reset());

  describe('session-check', () => {
    it('opens a session that may be opened, under the full JID that the worker was asked about', async () => {
      const alice = await scene.server.connect('alice', { resource: 'phone' });

      expect(alice.jid).toBe('alice@localhost/phone');
      expect(responder.of('session-check')).toHaveLength(1);
      expect(responder.of('session-check')[0]).toMatchObject({
        user: 'alice@localhost/phone',
        ip: '127.0.0.1',
        tls: false,
        mechanism: 'PLAIN',
      });
      await alice.stop();
    });

    it('asks about the resource that the client is given, when it wishes none', async () => {
      const alice = await scene.server.connect('alice');

      expect(responder.of('session-check')[0]?.['user']).toBe(alice.jid);
      expect(alice.jid).toMatch(/^alice@localhost\/.+$/);
      await alice.stop();
    });

    it('refuses the session with condition and text of the verdict', async () => {
      const error = { type: 'auth', condition: 'forbidden', text: 'Not before <eight>' };
      responder.on('session-check', () => ({ verdict: 'deny', error }));

      await expect(scene.server.connect('alice')).rejects.toMatchObject(kind.refusal(error));
    });

    it.each([
      ['deny', { type: 'cancel', condition: 'not-allowed', text: 'You may not open a session now' }],
      ['drop', { type: 'cancel', condition: 'not-allowed', text: 'You may not open a session now' }],
      ['defer', { type: 'wait', condition: 'resource-constraint', text: 'Try again later' }],
    ])('refuses the session on %s, and says so when the verdict does not', async (verdict, error) => {
      responder.on('session-check', () => ({ verdict }));

      await expect(scene.server.connect('alice')).rejects.toMatchObject(kind.refusal(error));
    });

    it('leaves nothing of a refused session behind: no message goes to it', async () => {
      const alice = await scene.server.connect('alice', { resource: 'phone' });
      const bob = await scene.server.connect('bob');
      responder.on('session-check', () => ({ verdict: 'deny' }));
      await expect(scene.server.connect('alice', { resource: 'tablet' })).rejects.toThrow();

      await bob.send(message('alice@localhost/tablet', 'to the tablet'));
      await alice.take('what goes to the session that there is', hasBody('to the tablet'));
      await Promise.all([alice.stop(), bob.stop()]);
    });

    it('ends no session for one that is refused under the same name', async () => {
      const alice = await scene.server.connect('alice', { resource: 'phone' });
      responder.on('session-check', () => ({ verdict: 'deny' }));
      await expect(scene.server.connect('alice', { resource: 'phone' })).rejects.toThrow();

      await alice.settle();
      await alice.stop();
    });

    it('keeps what is for an account that is away, when a session is refused', async () => {
      const bob = await scene.server.connect('bob');
      await scene.server.register('fritz');
      await bob.send(message('fritz@localhost', 'for later'));
      await bob.settle();
      responder.on('session-check', () => ({ verdict: 'deny' }));
      await expect(scene.server.connect('fritz')).rejects.toThrow();
      responder.reset();

      const fritz = await scene.server.connect('fritz', { presence: false });
      await fritz.send(xml('presence'));
      await fritz.take('what was kept', hasBody('for later'));
      await Promise.all([bob.stop(), fritz.stop()]);
    });

    it('lets a client that was refused try again in the same stream', async () => {
      await scene.server.register('gerd');
      responder.on('session-check', () => ({ verdict: 'deny' }));
      const stream = await openStream(scene.server.port, 'localhost');
      await stream.authenticate('gerd');
      expect(await stream.bind('phone')).toBe('');
      responder.reset();

      expect(await stream.bind('phone')).toBe('gerd@localhost/phone');
      stream.vanish();
    });

    it('is not asked about a session that is resumed (XEP-0198): it was never gone', async () => {
      await scene.server.register('ida', 'other.test');
      const stream = await openStream(scene.server.port, 'other.test');
      await stream.authenticate('ida');
      await stream.bind('phone');
      stream.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
      const enabled = await stream.take('stream management', named('enabled'));
      stream.vanish();
      responder.on('session-check', () => ({ verdict: 'deny' }));
      const again = await openStream(scene.server.port, 'other.test');
      await again.authenticate('ida');
      again.write(`<resume xmlns='urn:xmpp:sm:3' h='0' previd='${enabled.attrs['id'] ?? ''}'/>`);

      await again.take('that it is resumed', named('resumed'));
      expect(responder.of('session-check')).toHaveLength(1);
      again.vanish();
    });

    it('gives up on a client that was disconnected while it was being checked', async () => {
      let letGo: (() => void) | undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      responder.on('session-check', () => held.then(() => ({ verdict: 'allow' })));
      await scene.server.register('erwin');
      const stream = await openStream(scene.server.port, 'localhost');
      await stream.authenticate('erwin');
      stream.write("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
      await responder.untilAsked('session-check');
      await scene.server.disconnectClients();
      letGo?.();
      responder.reset();

      await (await scene.server.connect('erwin')).stop();
      expect(scene.server.output()).not.toMatch(kind.crashed);
    });

    it('takes the fallback, which allows, when the verdict is to change something', async () => {
      responder.on('session-check', () => ({ verdict: 'modify', stanza: '<iq/>' }));

      await (await scene.server.connect('alice')).stop();
    });
  });

  describe('user-removed', () => {
    it('tells the workers once that an account is gone', async () => {
      await scene.server.register('carol');
      await scene.server.unregister('carol');
      await responder.untilAsked('user-removed');

      expect(responder.of('user-removed').map(({ user }) => user)).toEqual(['carol@localhost']);
      await scene.server.waitForOutput(/user-removed: carol@localhost/);
    });

    it('tells them again with the same id when that failed, until they acknowledge it, and the log says so', async () => {
      await scene.server.register('dora');
      responder.on('user-removed', () => ({ failure: 'source-unavailable', text: '' }));
      await scene.server.unregister('dora');
      await scene.server.waitForOutput(/user-removed failed: source-unavailable/);
      await responder.untilAsked('user-removed', 2);
      responder.on('user-removed', () => ({ forgotten: true }));
      await scene.server.waitForOutput(/user-removed: dora@localhost/);

      const told = responder.of('user-removed').map(({ id, user }) => ({ id, user }));
      expect(told).toEqual(told.map(() => ({ id: told[0]?.id, user: 'dora@localhost' })));
    });
  });
}
