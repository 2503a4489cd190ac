/** Clients that come over a WebSocket, whose stanzas take another way into a server, are held and answered like all others. */
import { randomUUID } from 'node:crypto';
import { WebSocket } from 'undici';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { freePort } from '../free-port.ts';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import type { ServerKind } from '../server-kind.ts';
import { errorOf, hasBody, isFrom, joinOf, message } from '../xmpp-client.ts';
import type { TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

// Node 20 has none of its own, and @xmpp/client looks for a browser's.
Object.assign(globalThis, { WebSocket });

export function checkWebSocketClients(kind: ServerKind): void {
  let scene: SceneOf<XmppServer>;
  let service: string;
  let alice: TestClient;
  let bob: TestClient;

  beforeAll(async () => {
    const httpPort = await freePort();
    scene = await startSceneOn(kind, {
      httpPort,
      policy: { timeoutsMs: { 'stanza-check': 30_000, 'join-check': 30_000, 'session-check': 30_000 } },
    });
    service = `ws://127.0.0.1:${httpPort}/xmpp-websocket`;
    [alice, bob] = [await scene.server.connect('alice', { service }), await scene.server.connect('bob', { service })];
  });

  afterAll(() => scene?.stop());

  beforeEach(() => scene.responder.reset());

  it('a session is asked about, and refused where it may not open', async () => {
    const error = { type: 'auth', condition: 'forbidden', text: 'Not before <eight>' };
    scene.responder.on('session-check', () => ({ verdict: 'deny', error }));

    await expect(scene.server.connect('carol', { service, resource: 'browser' })).rejects.toMatchObject(
      kind.refusal(error),
    );
    expect(scene.responder.of('session-check')[0]).toMatchObject({
      user: 'carol@localhost/browser',
      ip: '127.0.0.1',
      mechanism: 'PLAIN',
    });
  });

  it('a denied message comes back with its error', async () => {
    scene.responder.on('stanza-check', () => ({ verdict: 'deny' }));
    const stanza = message(bob.bare, 'hello');
    await alice.send(stanza);

    expect(errorOf(await alice.reply(stanza.attrs['id'] ?? ''))).toMatchObject({ condition: 'not-allowed' });
  });

  it('a denied join comes back with its error', async () => {
    scene.responder.on('join-check', () => ({ verdict: 'deny' }));
    const stanza = joinOf(`${randomUUID()}@rooms.localhost`, 'alice');
    await alice.send(stanza);

    expect(errorOf(await alice.reply(stanza.attrs['id'] ?? ''))).toMatchObject({ condition: 'forbidden' });
  });

  it('what is sent behind a message that is being checked waits and keeps its place', async () => {
    let letGo: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    scene.responder.on('stanza-check', async (asked) => {
      if (String(asked['stanza']).includes('first')) await held;
      return { verdict: 'allow' };
    });
    await alice.send(message(bob.bare, 'first'));
    await alice.send(message(bob.bare, 'second'));
    await scene.responder.untilAsked('stanza-check');
    await bob.send(message(alice.bare, 'back'));
    if (kind.receivesWhileAsking) await alice.take('what is sent to it meanwhile', hasBody('back'));
    await bob.settle();
    expect(bob.inbox.map(String)).toEqual([]);
    letGo?.();

    const got = [await bob.take('one', isFrom(alice.jid)), await bob.take('another', isFrom(alice.jid))];
    expect(got.map((stanza) => stanza.getChildText('body'))).toEqual(['first', 'second']);
    if (!kind.receivesWhileAsking) await alice.take('what was sent to it meanwhile', hasBody('back'));
  });
}
