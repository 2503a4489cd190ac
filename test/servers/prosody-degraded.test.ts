/**
 * What clients get when the application has failed and the worker has been told what to say then. Everywhere the hook's
 * own fallback is another, so that what is seen is the worker's.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { json, startApplication } from './application.ts';
import type { Application } from './application.ts';
import { builtMain } from './built.ts';
import { run } from './cli.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProsody } from './prosody.ts';
import type { Prosody } from './prosody.ts';
import { startWorkerProcess } from './worker.ts';
import type { WorkerProcess } from './worker.ts';
import { enterRoom, errorOf, hasBody, joinOf, message, xml } from './xmpp-client.ts';
import type { Element, TestClient } from './xmpp-client.ts';

let broker: NatsServer;
let application: Application;
let worker: WorkerProcess;
let prosody: Prosody;
/** Who everybody writes to, and who may always log in. */
let bob: TestClient;

const fallbacks = ['allow', 'deny', 'defer', 'stale'] as const;
const opposite = { allow: 'deny', deny: 'allow', defer: 'allow', stale: 'deny' };

beforeAll(async () => {
  [broker, application] = await Promise.all([startNatsServer({ jetstream: true }), startApplication()]);
  // What is allowed is remembered for a second: with `stale` it is the last known for longer.
  const route = (fallback: string) => ({ source: 'app', ttl_ms: 1_000, fallback });
  const sources = Object.fromEntries(
    fallbacks.flatMap((one) => [`${one}.test`, `rooms.${one}.test`].map((domain) => [domain, route(one)])),
  );
  const config = {
    sources: { app: { type: 'http', url: `${application.url}/`, breaker: { failures: 1_000 } } },
    operations: {
      'stanza-check': { sources },
      'join-check': { sources },
      'session-check': { sources },
      'roster-refresh': { sources: { 'stale.test': route('stale') } },
    },
  };
  worker = await startWorkerProcess(broker.url, JSON.stringify(config)); // JSON is YAML
  const host = (one: (typeof fallbacks)[number]): string => {
    const other = opposite[one];
    const hookFallbacks = `warder_fallback = {
  ["stanza-check"] = "${other}", ["join-check"] = "${other}", ["session-check"] = "${other}" }`;
    return `
VirtualHost "${one}.test"
modules_enabled = { "warder" }
warder_roster = ${one === 'stale'}
${hookFallbacks}
Component "rooms.${one}.test" "muc"
modules_enabled = { "warder" }
muc_room_locking = false
${hookFallbacks}`;
  };
  prosody = await startProsody({
    natsUrl: broker.url,
    options: 'warder_timeouts = { ["stanza-check"] = 10, ["join-check"] = 10, ["session-check"] = 10 }',
    hostOptions: 'warder_checks = {}',
    further: fallbacks.map(host).join('\n'),
  });
  await prosody.waitForOutput(/Connected to NATS/);
  bob = await prosody.connect('bob');
});

afterAll(async () => {
  await prosody?.stop();
  await worker?.stop();
  await application?.stop();
  await broker?.stop();
});

beforeEach(works);
afterEach(() => void (bob.inbox.length = 0));

function works(): void {
  application.answer((_request, response, body) => {
    const { operation } = JSON.parse(body) as { operation: string };
    const roster = { items: [{ jid: bob.bare }] };
    json(operation === 'roster-refresh' ? roster : { verdict: 'allow', scope: 'pair' })(_request, response);
  });
}

function fails(): void {
  application.answer((_request, response) => response.writeHead(500).end());
}

async function sendAndGetError(client: TestClient, stanza: Element): Promise<ReturnType<typeof errorOf>> {
  await client.send(stanza);
  return errorOf(await client.reply(stanza.attrs['id'] ?? ''));
}

const forbidden = { type: 'auth', condition: 'forbidden' };
const notAllowed = { type: 'cancel', condition: 'not-allowed' };
const tryAgain = { type: 'wait', condition: 'resource-constraint' };

describe('a worker whose source has failed', () => {
  it('allows where it is told to', async () => {
    fails();
    const alice = await prosody.connect('alice', { domain: 'allow.test' });
    await alice.send(message(bob.bare, 'hello'));
    await bob.take('the message', hasBody('hello'));
    await enterRoom(alice, 'den@rooms.allow.test', 'alice');
    await alice.stop();
  });

  it.each([
    { fallback: 'deny', stanza: notAllowed, join: forbidden, session: notAllowed },
    { fallback: 'defer', stanza: tryAgain, join: tryAgain, session: tryAgain },
  ])('says $fallback where it is told to', async ({ fallback, stanza, join, session }) => {
    const domain = `${fallback}.test`;
    const alice = await prosody.connect('alice', { domain });
    fails();
    expect(await sendAndGetError(alice, message(bob.bare, 'hello'))).toMatchObject(stanza);
    expect(await sendAndGetError(alice, joinOf(`den@rooms.${domain}`, 'alice'))).toMatchObject(join);
    await expect(prosody.connect('dora', { domain })).rejects.toMatchObject({ name: 'StanzaError', ...session });
    await alice.stop();
  });

  it('asks it again for each message, for what it says is no decision to be remembered', async () => {
    fails();
    const alice = await prosody.connect('alice', { domain: 'allow.test' });
    const before = application.asked;
    for (const body of ['one', 'two', 'three']) {
      await alice.send(message(bob.bare, body));
      await bob.take('the message', hasBody(body));
    }
    expect(application.asked - before).toBe(3);
    await alice.stop();
  });

  it('says what it last knew where it is told to, but not what somebody has said is over', async () => {
    const alice = await prosody.connect('alice', { domain: 'stale.test', presence: false });
    const roster = xml('query', { xmlns: 'jabber:iq:roster' });
    const contacts = async (client: TestClient): Promise<(string | undefined)[]> =>
      ((await client.ask('get', roster)).getChild('query')?.getChildren('item') ?? []).map(({ attrs }) => attrs['jid']);
    expect(await contacts(alice)).toEqual([bob.bare]);
    await alice.send(message(bob.bare, 'known'));
    await bob.take('the message', hasBody('known'));
    fails();
    // All arrive: the first ones by what is remembered, the last one although the application was asked in vain.
    for (const before = application.asked; application.asked === before;) {
      await alice.send(message(bob.bare, 'still known'));
      await bob.take('the message', hasBody('still known'));
    }
    expect(await sendAndGetError(alice, message('carol@localhost', 'never known'))).toMatchObject(notAllowed);

    const flushed = await run(process.execPath, [await builtMain(), 'flush', 'user', alice.bare, '--wait'], {
      cwd: import.meta.dirname,
      env: { WARDER_NATS_URL: broker.url },
    });
    expect(flushed).toMatchObject({ code: 0 });
    expect(await sendAndGetError(alice, message(bob.bare, 'not known any more'))).toMatchObject(notAllowed);
    await alice.stop();
  });
});

it('nothing in all this went wrong inside Prosody', () => {
  expect(prosody.output()).not.toMatch(/[Tt]raceback/);
});
