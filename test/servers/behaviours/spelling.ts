/** That no spelling of a JID gets around a policy: what clients write, what a real server and the worker make of it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PolicyFile } from '../../sources/policy-file.ts';
import { startNatsServer } from '../nats-server.ts';
import type { NatsServer } from '../nats-server.ts';
import type { ServerKind } from '../server-kind.ts';
import { startWorkerProcess } from '../worker.ts';
import type { WorkerProcess } from '../worker.ts';
import { connectClient, enterRoom, errorOf, hasBody, joinOf, message } from '../xmpp-client.ts';
import type { Element, TestClient } from '../xmpp-client.ts';
import type { XmppServer } from '../xmpp-server.ts';

/** The operator's own spelling is no normal form either. */
const rules = `
stanzas:
  default: allow
  deny:
    - { from: Alice@LOCALHOST, to: 'Straße@localhost', text: Leave them alone. }
rooms:
  default: allow
  list:
    'Maßstab@Rooms.localhost': { deny: ['ALICE@localhost'], text: Not you. }
sessions:
  default: allow
  deny:
    - { user: 'Großmaul@localhost', text: Suspended. }
`;

export function spellJids(kind: ServerKind): void {
  let broker: NatsServer;
  let policy: PolicyFile;
  let worker: WorkerProcess;
  let server: XmppServer;
  let alice: TestClient;
  let strasse: TestClient;

  beforeAll(async () => {
    broker = await startNatsServer({ jetstream: true });
    policy = new PolicyFile(rules);
    const policed = { sources: 'policy' };
    const config = {
      sources: { policy: { type: 'static', file: policy.path } },
      operations: { 'stanza-check': policed, 'join-check': policed, 'session-check': policed },
    };
    worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
    const budgetMs = 10_000;
    server = await kind.start({
      natsUrl: broker.url,
      policy: { timeoutsMs: { 'stanza-check': budgetMs, 'join-check': budgetMs, 'session-check': budgetMs } },
    });
    await server.waitForOutput(/Connected to NATS/);
    [alice, strasse] = await Promise.all([server.connect('alice'), server.connect('strasse')]);
  });

  afterAll(async () => {
    await server?.stop();
    await worker?.stop();
    policy?.remove();
    await broker?.stop();
  });

  beforeEach(() => {
    for (const client of [alice, strasse]) client.inbox.length = 0;
  });

  async function sendAndGetError(stanza: Element): Promise<ReturnType<typeof errorOf>> {
    await alice.send(stanza);
    return errorOf(await alice.reply(stanza.attrs['id'] ?? ''));
  }

  describe('a denied message', () => {
    it.each([
      ['as in the policy', 'Straße@localhost'],
      ['in capitals', 'STRASSE@LOCALHOST'],
      ['with a long s', 'ſtraße@localhost'],
      ['with a soft hyphen', 'stra\u{ad}sse@localhost'],
      ['in full width', 'ｓｔｒａｓｓｅ@localhost'],
      ['with a host in full width', 'strasse@ｌocalhost'],
      ['to a device', 'STRASSE@localhost/phone'],
    ])('is denied to a JID that is written %s', async (_how, to) => {
      expect(await sendAndGetError(message(to, 'hello'))).toEqual({
        type: 'cancel',
        condition: 'not-allowed',
        text: 'Leave them alone.',
      });
      await strasse.settle();
      expect(strasse.inbox.map(String)).toEqual([]);
    });

    it('is no other’s: what is written to another user arrives, under every spelling', async () => {
      const lia = await server.connect('lia');
      await alice.send(message('LIA@localhost', 'hello'));
      await lia.take('the message', hasBody('hello'));
      await lia.stop();
    });

    it('to what is no JID at all is refused before anybody is asked', async () => {
      expect(await sendAndGetError(message('a b@localhost', 'hello'))).toMatchObject({
        condition: kind.malformedRecipient,
      });
    });
  });

  describe('a denied room', () => {
    it.each([
      ['as in the policy', 'Maßstab@rooms.localhost'],
      ['in capitals', 'MASSSTAB@ROOMS.localhost'],
      ['with a zero width space', 'mass\u{200b}stab@rooms.localhost'],
      ['in full width', 'ｍａｓｓｓｔａｂ@rooms.localhost'],
    ])('is denied when it is written %s', async (_how, room) => {
      expect(await sendAndGetError(joinOf(room, 'alice'))).toMatchObject({ type: 'auth', text: 'Not you.' });
    });

    it('is open to others, under every spelling', async () => {
      await strasse.send(joinOf('MAßSTAB@rooms.localhost', 'guest'));
      await strasse.take('its presence', ({ attrs }) => attrs['from'] === 'massstab@rooms.localhost/guest');
      await enterRoom(alice, 'other@rooms.localhost', 'alice');
    });
  });

  describe('a denied session', () => {
    // The client library can log in with Latin-1 only, and not as UTF-8.
    it.each(['grossmaul', 'GROSSMAUL', 'GrossMaul'])('is denied to %s', async (username) => {
      await server.register('grossmaul');
      const { host: domain, port } = server;
      await expect(connectClient({ port, domain, username, password: 'grossmaul' })).rejects.toMatchObject(
        kind.refusal({ type: 'cancel', condition: 'not-allowed', text: 'Suspended.' }),
      );
    });
  });
}
