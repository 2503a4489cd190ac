/** Logins that are broken off, overtaken or reloaded under while the roster is asked for: nobody is shown one that is none. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startSceneOn } from '../policy-scene.ts';
import type { SceneOf } from '../policy-scene.ts';
import { openStream } from '../raw-xmpp.ts';
import type { RawStream } from '../raw-xmpp.ts';
import type { Answer, Asked, Responder } from '../responder.ts';
import { errorOf, xml } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { RosterKind } from '../roster-kind.ts';
import type { XmppServer } from '../xmpp-server.ts';

export function breakOffLogins(kind: RosterKind): void {
  let scene: SceneOf<XmppServer>;
  let responder: Responder;
  let names = 0;
  let name: string;
  const clients: TestClient[] = [];

  beforeAll(async () => {
    scene = await startSceneOn(kind, { policy: { roster: true, timeoutsMs: { 'roster-refresh': 2_000 } } });
    ({ responder } = scene);
  });

  afterAll(() => scene?.stop());

  beforeEach(() => {
    responder.reset();
    name = `user${(names += 1)}`;
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
  });

  const query = xml('query', { xmlns: 'jabber:iq:roster' });
  const tryAgain = { type: 'wait', condition: 'resource-constraint' };

  /** Nobody answers. */
  const silence = (): Answer => undefined;

  function roster(asked: Asked, ...contacts: string[]): Answer {
    const [user] = asked['users'] as [string];
    const items = contacts.map((jid) => ({ jid, subscription: 'both', groups: [] }));
    return { status: 'ok', rosters: { [user]: { version: String(contacts), items, pending: [] } }, failed: {} };
  }

  async function login(): Promise<TestClient> {
    const client = await scene.server.connect(name, { presence: false });
    clients.push(client);
    return client;
  }

  async function open(resource: string): Promise<RawStream> {
    await scene.server.register(name);
    const stream = await openStream(scene.server.port, 'localhost');
    await stream.authenticate(name);
    await stream.bind(resource);
    return stream;
  }

  /** What a client is shown; an error is no empty roster. */
  function contactsIn(result: Element): (string | undefined)[] {
    expect(result.attrs['type']).toBe('result');
    return (result.getChild('query')?.getChildren('item') ?? []).map(({ attrs }) => attrs['jid']);
  }

  describe('a login that is broken off before its first roster came', () => {
    const ends: [string, (stream: RawStream) => void][] = [
      ['by a connection that is gone', (stream) => stream.vanish()],
      ['by a closed stream', (stream) => stream.write('</stream:stream>')],
      [
        'with questions behind it',
        (stream) => {
          stream.write(`<iq type='get' id='r'>${String(query)}</iq><presence/></stream:stream>`);
          stream.vanish();
        },
      ],
    ];

    it.each(ends)(
      '%s: the next one is told to try again while nobody answers, and is shown no empty roster',
      async (_how, end) => {
        responder.on('roster-refresh', silence);
        const first = await open('phone');
        await responder.untilAsked('roster-refresh');
        end(first);
        const second = await login();
        expect(errorOf(await second.ask('get', query))).toMatchObject(tryAgain);
        expect(errorOf(await second.ask('get', query))).toMatchObject(tryAgain);
        responder.on('roster-refresh', (asked) => roster(asked, 'bob@localhost'));
        expect(contactsIn(await second.ask('get', query))).toEqual(['bob@localhost']);
      },
    );

    it('the same device, once more: it is told to try again', async () => {
      responder.on('roster-refresh', silence);
      const first = await open('phone');
      await responder.untilAsked('roster-refresh');
      const second = await open('phone');
      second.write(`<iq type='get' id='r'>${String(query)}</iq>`);
      expect(errorOf(await second.take('a reply', ({ attrs }) => attrs['id'] === 'r'))).toMatchObject(tryAgain);
      first.vanish();
      second.vanish();
    });

    it('replaced by the same device, and the module reloaded while both wait: the one that is left is told to try again', async () => {
      responder.on('roster-refresh', silence);
      const ask = (id: string): string => `<iq type='get' id='${id}'>${String(query)}</iq>`;
      const first = await open('phone');
      first.write(ask('r'));
      await responder.untilAsked('roster-refresh');
      const second = await open('phone');
      second.write(ask('r'));
      await kind.restartHook(scene.server);
      expect(errorOf(await second.take('a reply', ({ attrs }) => attrs['id'] === 'r'))).toMatchObject(tryAgain);
      responder.on('roster-refresh', (asked) => roster(asked, 'bob@localhost'));
      second.write(ask('s'));
      expect(contactsIn(await second.take('a reply', ({ attrs }) => attrs['id'] === 's'))).toEqual(['bob@localhost']);
      first.vanish();
      second.vanish();
    });

    it('the module reloaded while it waits: it is told to try again', async () => {
      responder.on('roster-refresh', silence);
      const client = await login();
      await responder.untilAsked('roster-refresh');
      const asking = client.ask('get', query);
      await kind.restartHook(scene.server);
      expect(errorOf(await asking)).toMatchObject(tryAgain);
      responder.on('roster-refresh', (asked) => roster(asked, 'bob@localhost'));
      expect(contactsIn(await client.ask('get', query))).toEqual(['bob@localhost']);
    });
  });

  it('nothing in all this went wrong inside the server', () => {
    expect(scene.server.output()).not.toMatch(kind.crashed);
  });
}
