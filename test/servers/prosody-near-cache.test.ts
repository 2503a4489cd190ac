/** What the Prosody hook remembers, and what makes it forget; and what of it is Prosody's own. */
import { describe, expect, it } from 'vitest';
import { json } from './application.ts';
import { rememberAndForget } from './behaviours/near-cache.ts';
import { usePair } from './near-cache-pair.ts';
import { send } from './near-cache-scene.ts';
import { prosodyKind } from './prosody-kind.ts';
import { connectComponent } from './xmpp-component.ts';
import { hasBody, message } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

describe('the near cache of Prosody', () => rememberAndForget(prosodyKind));

describe('what is remembered on Prosody', () => {
  const pair = usePair(prosodyKind);

  it('is counted by verdict, for the admin shell', async () => {
    const { scene, alice, bob } = pair();
    const before = await scene.server.shell('warder:stats()');
    const remembered = (text: string): number =>
      Number(/^.*localhost\n.*stanza-check: .*remembered: allow (\d+);/m.exec(text)?.[1]);
    await send(alice, bob);
    await send(alice, bob);
    expect(remembered(await scene.server.shell('warder:stats()'))).toBe(remembered(before) + 1);
  });

  it.each(['pair', 'sender'])(
    'is not what another module sends to a JID that is not in normal form (%s)',
    async (scope) => {
      const { scene, alice, bob, costOf } = pair();
      scene.application.answer(json({ verdict: 'allow', scope }));
      await scene.warder('flush', 'user', alice.bare);
      await scene.untilRemembered(() => send(alice, bob));
      const stanza = `require "util.stanza".message({ from = "${alice.jid}", to = "${bob.bare.toUpperCase()}", type = "chat" })`;
      const post = `> prosody.core_post_stanza(prosody.full_sessions["${alice.jid}"], ${stanza}, true)`;
      for (let round = 0; round < 2; round += 1) {
        const cost = await costOf(async () => {
          await scene.server.shell(post);
          await alice.settle();
        });
        expect(cost).toBe(1);
      }
    },
  );

  it('serves what comes where nothing can wait, and lets nothing overtake what its sender sent before', async () => {
    const { scene, names } = pair();
    const { server: prosody, application } = scene;
    const gateway = await connectComponent(prosody.componentPort, 'gateway.localhost', 'secret');
    const domain = 'two.test';
    const carol = await prosody.connect(`carol${names}`, { domain });
    const dave = await prosody.connect(`dave${names}`, { domain });
    const [eve, mallory] = [`eve${names}@gateway.localhost`, `mallory${names}@gateway.localhost`];
    let sent = 0;
    const say = (from: string, to: TestClient, body: string) => message(to.bare, body, { from });
    for (const from of [eve, mallory]) {
      await scene.untilRemembered(async () => {
        gateway.send(say(from, dave, `warm ${(sent += 1)}`));
        await dave.take('it', hasBody(`warm ${sent}`));
      });
    }
    const held: (() => void)[] = [];
    application.answer((request, response) =>
      held.push(() => json({ verdict: 'allow', scope: 'pair' })(request, response)),
    );
    const asked = application.asked;
    gateway.send(say(eve, carol, 'slow'), say(eve, dave, 'behind it'), say(mallory, dave, 'beside it'));
    await application.untilAsked(asked + 1);
    await dave.take('what another sent', hasBody('beside it'));
    await dave.settle();
    expect(dave.inbox.map(String)).toEqual([]);
    for (const answer of held) answer();
    await carol.take('the first', hasBody('slow'));
    await dave.take('the second', hasBody('behind it'));
    gateway.stop();
  });

  it('is one near cache for its hosts, which the reload of one leaves to the others', async () => {
    const { scene, alice, bob, costOf } = pair();
    expect((await scene.server.shell('warder:stats()')).match(/near cache of/g)).toHaveLength(1);
    await send(alice, bob);
    await scene.server.shell("module:reload('warder', 'two.test')");
    expect(await costOf(() => send(alice, bob))).toBe(0);
  });

  it('outlives the reload of the only host that uses it', async () => {
    const { scene, alice, bob, costOf } = pair();
    await scene.server.shell("module:unload('warder', { 'two.test', 'rooms.localhost' })");
    await send(alice, bob);
    // Nobody else holds what it remembers.
    await scene.server.shell("module:reload('warder', 'localhost')");
    expect(await costOf(() => send(alice, bob))).toBe(0);
  });

  it('nothing in all this went wrong inside Prosody', () => {
    expect(pair().scene.server.output()).not.toMatch(/[Tt]raceback|near cache failed/);
  });
});
