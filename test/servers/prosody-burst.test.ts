/** What a client sends in one go, where Prosody's socket library has read more of it than Prosody has asked for. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startScene } from './policy-scene.ts';
import type { Scene } from './policy-scene.ts';
import { message } from './xmpp-client.ts';

let scene: Scene;

beforeAll(async () => {
  // Far less than the library reads at once, so that something always lies there when a question has been answered.
  scene = await startScene({ options: 'network_settings = { read_size = 700 }' });
});

afterAll(() => scene?.stop());

it('arrives to its end, although the client sends nothing more', async () => {
  const bob = await scene.prosody.connect('bob');
  const alice = await scene.prosody.connect('alice');
  const bodies = Array.from({ length: 40 }, (_unused, n) => `number ${n}`);
  await alice.write(bodies.map((body) => String(message(bob.jid, body))).join(''));

  const got: (string | null)[] = [];
  while (got.length < bodies.length) {
    got.push((await bob.take('a message', (stanza) => stanza.name === 'message')).getChildText('body'));
  }
  expect(got).toEqual(bodies);
});
