/** Options, with their mistakes; other ones for a running Prosody. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { reloadSafely } from './behaviours/reload.ts';
import { startScene } from './policy-scene.ts';
import type { Scene } from './policy-scene.ts';
import { prosodyKind } from './prosody-kind.ts';
import type { Responder } from './responder.ts';
import { errorOf, message } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

let scene: Scene;
let responder: Responder;
let alice: TestClient;
let bob: TestClient;

beforeAll(async () => {
  scene = await startScene({
    options: `
warder_timeouts = { ["stanza-check"] = "soon", ["join-check"] = 0, ["stanza-chek"] = 1 }
warder_fallback = {
  ["stanza-check"] = { ["local"] = "alow", everywhere = "deny" },
  ["join-check"] = "perhaps",
  ["roster-refresh"] = "deny",
  ["user-removed"] = "allow",
}
warder_stanza_hooks = { "send", "sent" }
warder_stanza_kinds = { "message", "iqs" }
warder_checks = { "stanza-check", "join-check", "session-chek" }
warder_notify = "often"
warder_subject_prefix = "xmpp.policy.>"
warder_encoding = "xml"
warder_max_stanza_size = -1
warder_server_name = ""
warder_falback = "deny"
warder_nats_servers = "nats://127.0.0.1:4222"`,
    roomOptions: 'muc_room_locking = false',
  });
  ({ responder } = scene);
  [alice, bob] = await Promise.all([scene.prosody.connect('alice'), scene.prosody.connect('bob')]);
});

afterAll(() => scene?.stop());

beforeEach(() => {
  responder.reset();
  for (const client of [alice, bob]) client.inbox.length = 0;
});

async function sendAndGetError(body: string): Promise<ReturnType<typeof errorOf>> {
  const stanza = message(bob.bare, body);
  await alice.send(stanza);
  return errorOf(await alice.reply(stanza.attrs['id'] ?? ''));
}

describe('options that make no sense', () => {
  it.each([
    [
      'a timeout that is no number',
      /warder_timeouts: stanza-check: soon should be seconds, more than 0 and at most 60; 0\.25 is used/,
    ],
    ['a timeout of nothing', /warder_timeouts: join-check: 0 should be seconds/],
    [
      'an operation that is none',
      /warder_timeouts: "stanza-chek" is no operation; the operations are stanza-check, join-check/,
    ],
    [
      'a fallback that is none',
      /warder_fallback: stanza-check, local: alow is none of allow, deny, defer, drop; allow is used/,
    ],
    ['a side that is none', /warder_fallback: stanza-check: "everywhere" is neither local nor remote/],
    [
      'a fallback for both sides that is none',
      /warder_fallback: join-check, remote: perhaps is none of allow, deny, defer, drop; deny is used/,
    ],
    [
      'a fallback that rosters have not',
      /warder_fallback: roster-refresh, local: deny is none of last-known, error; last-known is used/,
    ],
    ['a fallback of what has none', /warder_fallback: user-removed has no fallback/],
    ['a hook that is none', /warder_stanza_hooks: "sent" is none of send, route, local, receive, offline; left out/],
    ['a kind that is none', /warder_stanza_kinds: "iqs" is none of message, presence, iq; left out/],
    [
      'a check that is none',
      /warder_checks: "session-chek" is none of stanza-check, join-check, session-check, user-removed; left out/,
    ],
    ['a word for a truth', /warder_notify: often should be true or false; false is used/],
    [
      'a prefix with a wildcard',
      /warder_subject_prefix: xmpp\.policy\.> should be a NATS subject without wildcards; xmpp\.policy\.v1 is used/,
    ],
    ['an encoding that is none', /warder_encoding: xml should be messagepack or json; messagepack is used/],
    ['a size below nothing', /warder_max_stanza_size: -1 should be a whole number of bytes; 65536 is used/],
    ['a name that is none', /warder_server_name: +should be a name of at most 256 characters/],
    ['an option that is none', /warder_falback: no such option; the options are warder_checks, /],
    ['an option of the connection that is none', /warder_nats_servers: no such option; .*warder_nats_url/],
  ])('are reported with what would be right: %s', (_what, pattern) => {
    expect(scene.prosody.output()).toMatch(pattern);
  });

  it('leave the defaults at work, not an open door', async () => {
    responder.on('stanza-check', () => ({ verdict: 'deny' }));
    expect(await sendAndGetError('hello')).toMatchObject({ condition: 'not-allowed' });
    expect(responder.of('stanza-check')[0]?.['budget_ms']).toBeLessThanOrEqual(250);
    expect(responder.of('session-check')).toEqual([]);
  });
});

it('nothing in all this went wrong inside Prosody', () => {
  expect(scene.prosody.output()).not.toMatch(/[Tt]raceback/);
});

describe('in a running Prosody', () => reloadSafely(prosodyKind));
