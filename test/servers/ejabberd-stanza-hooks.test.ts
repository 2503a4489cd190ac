/** The hooks of a real ejabberd that are off unless configured, and what nobody's session sends. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkAtEachHook } from './behaviours/stanza-hooks.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startSceneOn } from './policy-scene.ts';
import type { SceneOf } from './policy-scene.ts';
import { hasBody } from './xmpp-client.ts';
import type { XmppServer } from './xmpp-server.ts';

checkAtEachHook(ejabberdKind);

describe('what a command of ejabberd sends in the name of a user', () => {
  let scene: SceneOf<XmppServer>;

  beforeAll(async () => {
    scene = await startSceneOn(ejabberdKind, { policy: { stanzaHooks: ['send', 'local'] } });
  });

  afterAll(() => scene?.stop());

  it('is asked about where it is delivered, since nothing stops it before', async () => {
    const { server, responder } = scene;
    const bob = await server.connect('bob');
    await server.register('alice');
    responder.reset();
    responder.on('stanza-check', (asked) => ({ verdict: String(asked['stanza']).includes('bad') ? 'deny' : 'allow' }));
    const send = (body: string): Promise<string> =>
      server.shell(
        `mod_admin_extra:send_message(<<"chat">>, <<"alice@localhost">>, <<"${bob.jid}">>, <<>>, <<"${body}">>)`,
      );
    await send('bad');
    await send('good');

    await bob.take('what may pass', hasBody('good'));
    expect(bob.inbox.map(String)).toEqual([]);
    const asked = responder.of('stanza-check').map(({ hook, from, to }) => ({ hook, from, to }));
    const local = { hook: 'local', from: 'alice@localhost', to: bob.jid };
    expect(asked).toEqual([local, local]);
    expect(server.output()).not.toMatch(ejabberdKind.crashed);
  });
});
