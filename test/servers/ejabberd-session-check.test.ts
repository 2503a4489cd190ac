/** Who gets a session of a real ejabberd; and one of those who authenticate as was done before SASL (XEP-0078). */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkSessions } from './behaviours/session-check.ts';
import { startEjabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startSceneOn } from './policy-scene.ts';
import type { SceneOf } from './policy-scene.ts';
import { named, openStream } from './raw-xmpp.ts';
import type { RawStream } from './raw-xmpp.ts';
import type { XmppServer } from './xmpp-server.ts';

checkSessions(ejabberdKind);

describe('a client that authenticates and asks for its session in one', () => {
  let scene: SceneOf<XmppServer>;

  beforeAll(async () => {
    const kind = {
      ...ejabberdKind,
      start: async (options: Parameters<typeof startEjabberd>[0]) =>
        startEjabberd({ ...options, modules: { mod_legacy_auth: {} }, codePaths: [await buildHook()] }),
    };
    scene = await startSceneOn(kind);
    await scene.server.register('hans');
  });

  afterAll(() => scene?.stop());

  beforeEach(() => scene.responder.reset());

  async function logIn(): Promise<RawStream> {
    const stream = await openStream(scene.server.port, 'localhost');
    const fields = '<username>hans</username><password>hans</password><resource>phone</resource>';
    stream.write(`<iq type='set' id='auth'><query xmlns='jabber:iq:auth'>${fields}</query></iq>`);
    return stream;
  }

  it('is asked about', async () => {
    const stream = await logIn();
    const reply = await stream.take('the session', (element) => element.attrs['id'] === 'auth');

    expect(reply.attrs['type']).toBe('result');
    expect(scene.responder.of('session-check')).toHaveLength(1);
    expect(scene.responder.of('session-check')[0]).toMatchObject({ user: 'hans@localhost/phone', mechanism: 'legacy' });
    stream.vanish();
  });

  it('is refused with the end of its stream', async () => {
    const error = { type: 'auth', condition: 'forbidden', text: 'Not before <eight>' };
    scene.responder.on('session-check', () => ({ verdict: 'deny', error }));
    const stream = await logIn();

    const refusal = await stream.take('the refusal', named('stream:error'));
    expect(refusal.getChildText('text', 'urn:ietf:params:xml:ns:xmpp-streams')).toBe('Not before <eight>');
    // The stream ends before its session does.
    while ((await scene.server.shell('ejabberd_sm:get_user_resources(<<"hans">>, <<"localhost">>)')) !== '[]');
  });
});
