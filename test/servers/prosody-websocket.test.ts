/** Clients that come over a WebSocket, whose stanzas take another way into Prosody, are held and answered like all others. */
import { WebSocket } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from './free-port.ts';
import { startScene } from './policy-scene.ts';
import type { Scene } from './policy-scene.ts';
import { errorOf, hasBody, isFrom, message } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

// Node 20 has none of its own, and @xmpp/client looks for a browser's.
Object.assign(globalThis, { WebSocket });

let scene: Scene;
let alice: TestClient;
let bob: TestClient;

beforeAll(async () => {
  const port = await freePort();
  scene = await startScene({
    modules: ['websocket'],
    options: `
http_ports = { ${port} }
http_default_host = "localhost"
consider_websocket_secure = true
warder_timeouts = { ["stanza-check"] = 30 }`,
  });
  const service = `ws://127.0.0.1:${port}/xmpp-websocket`;
  [alice, bob] = [await scene.prosody.connect('alice', { service }), await scene.prosody.connect('bob', { service })];
});

afterAll(() => scene?.stop());

it('a denied message comes back with its error', async () => {
  scene.responder.on('stanza-check', () => ({ verdict: 'deny' }));
  const stanza = message(bob.bare, 'hello');
  await alice.send(stanza);

  expect(errorOf(await alice.reply(stanza.attrs['id'] ?? ''))).toMatchObject({ condition: 'not-allowed' });
});

it('what is sent behind a message that is being checked waits and keeps its place', async () => {
  let letGo: (() => void) | undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  scene.responder.reset();
  scene.responder.on('stanza-check', async (asked) => {
    if (String(asked['stanza']).includes('first')) await held;
    return { verdict: 'allow' };
  });
  await alice.send(message(bob.bare, 'first'));
  await alice.send(message(bob.bare, 'second'));
  await scene.responder.untilAsked('stanza-check');
  await bob.send(message(alice.bare, 'back'));
  await alice.take('what is sent to it meanwhile', hasBody('back'));
  expect(bob.inbox.map(String)).toEqual([]);
  letGo?.();

  const got = [await bob.take('one', isFrom(alice.jid)), await bob.take('another', isFrom(alice.jid))];
  expect(got.map((stanza) => stanza.getChildText('body'))).toEqual(['first', 'second']);
});
