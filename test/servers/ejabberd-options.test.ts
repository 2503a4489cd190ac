/** What the ejabberd hook makes of its options, by host, and what is said of those that make no sense. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';

let broker: NatsServer;
let ejabberd: Ejabberd;
let codePaths: string[];

beforeAll(async () => {
  codePaths = [await buildHook()];
  broker = await startNatsServer();
  ejabberd = await startEjabberd({
    natsUrl: broker.url,
    codePaths,
    furtherHosts: [
      {
        host: 'other.test',
        policy: {
          checks: ['join-check'],
          stanzaHooks: ['offline'],
          stanzaKinds: ['message', 'iq'],
          timeoutsMs: { 'join-check': 1500 },
          fallback: {
            'stanza-check': 'drop',
            'join-check': { local: 'allow', remote: 'defer' },
            'roster-refresh': 'error',
          },
          notify: true,
          roster: true,
          rosterDelimiter: '::',
          maxStanzaSizeBytes: 100,
          serverName: 'node one',
          subjectPrefix: 'other.policy',
          encoding: 'json',
          nearCacheEntries: 0,
          stalenessBoundMs: 700,
          pushToken: 'abc/+=',
        },
      },
    ],
  });
});

afterAll(async () => {
  await ejabberd?.stop();
  await broker?.stop();
});

const settings = (host: string): Promise<unknown> =>
  ejabberd.evaluate(`maps:get(settings, element(2, mod_warder_hosts:find(<<"${host}">>)))`);

describe('the settings of a host', () => {
  it('are those of Prosody where nothing is said, and the name is the node’s', async () => {
    const both = (word: string) => ({ local: word, remote: word });
    expect(await settings('localhost')).toEqual({
      checks: { stanza_check: true, join_check: true, session_check: true, user_removed: true },
      hooks: { send: true, route: true },
      kinds: { message: true },
      budgets_ms: {
        stanza_check: 250,
        join_check: 1000,
        session_check: 1000,
        roster_refresh: 5000,
        roster_set: 1000,
        roster_subscription: 1000,
        user_removed: 5000,
      },
      fallback: {
        stanza_check: both('allow'),
        join_check: both('deny'),
        session_check: both('allow'),
        roster_refresh: both('last_known'),
        roster_set: both('defer'),
        roster_subscription: both('defer'),
      },
      notify: false,
      roster: false,
      roster_delimiter: 'undefined',
      push_token: 'undefined',
      server: ejabberd.node,
      prefix: 'xmpp.policy.v1',
      encoding: 'messagepack',
      max_stanza_bytes: 65536,
      near_cache: true,
      near_cache_entries: 50000,
      staleness_bound_ms: 2000,
    });
  });

  it('are its own, and the defaults where it says nothing', async () => {
    expect(await settings('other.test')).toMatchObject({
      checks: { join_check: true },
      hooks: { offline: true },
      kinds: { message: true, iq: true },
      budgets_ms: { stanza_check: 250, join_check: 1500 },
      fallback: {
        stanza_check: { local: 'drop', remote: 'drop' },
        join_check: { local: 'allow', remote: 'defer' },
        session_check: { local: 'allow', remote: 'allow' },
        roster_refresh: { local: 'error', remote: 'error' },
      },
      notify: true,
      roster: true,
      roster_delimiter: '::',
      max_stanza_bytes: 100,
      server: 'node one',
      prefix: 'other.policy',
      encoding: 'json',
      near_cache: false,
      staleness_bound_ms: 700,
      push_token: 'abc/+=',
    });
  });
});

describe('options that make no sense', () => {
  it.each([
    [
      'a timeout that is no number',
      { timeouts: { 'stanza-check': 'soon' } },
      /stanza-check: .*soon.* should be a time, such as 250 ms or 1 s/,
    ],
    ['a timeout of nothing', { timeouts: { 'join-check': 0 } }, /join-check: 0 ms should be from 1 ms to 60000 ms/],
    ['a timeout of hours', { timeouts: { 'join-check': '2 hours' } }, /should be from 1 ms to 60000 ms/],
    ['an operation that is none', { timeouts: { 'stanza-chek': 1 } }, /stanza-chek\. Did you mean stanza-check\?/],
    [
      'a fallback that is none',
      { fallback: { 'stanza-check': 'alow' } },
      /alow\. Did you mean allow\? Possible values are: allow, defer, deny, drop/,
    ],
    [
      'a fallback of one side that is none',
      { fallback: { 'join-check': { local: 'perhaps' } } },
      /join-check->local: .*perhaps/,
    ],
    ['a side that is none', { fallback: { 'join-check': { everywhere: 'deny' } } }, /everywhere\. .*local, remote/],
    ['a fallback that rosters have not', { fallback: { 'roster-refresh': 'deny' } }, /deny\. .*error, last-known/],
    ['a fallback that changes of rosters have not', { fallback: { 'roster-set': 'drop' } }, /allow, defer, deny/],
    ['a fallback of what has none', { fallback: { 'user-removed': 'allow' } }, /user-removed has no fallback/],
    ['a hook that is none', { stanza_hooks: ['send', 'sent'] }, /sent\. Did you mean send\?/],
    ['a kind that is none', { stanza_kinds: ['iqs'] }, /iqs\. .*iq, message, presence/],
    ['a check that is none', { checks: ['session-chek'] }, /session-chek\. Did you mean session-check\?/],
    ['a word for a truth', { notify: 'often' }, /notify: Expected boolean/],
    ['a prefix with a wildcard', { subject_prefix: 'xmpp.>' }, /'xmpp\.>' should be a NATS subject without wildcards/],
    ['a prefix with a hole', { subject_prefix: 'xmpp..v1' }, /should be a NATS subject/],
    ['an encoding that is none', { encoding: 'xml' }, /xml\. .*json, messagepack/],
    ['a size below nothing', { max_stanza_size: -1 }, /max_stanza_size: Expected non negative integer, got: -1/],
    ['a name that is none', { server_name: '' }, /'' should be a name of at most 256 characters/],
    ['a name of two lines', { server_name: 'a\nb' }, /should be a name/],
    ['more entries than there may be', { near_cache_entries: 10_000_001 }, /from 0 to 10000000/],
    ['a bound that nobody can keep', { staleness_bound: '10 ms' }, /10 ms should be from 200 ms to 60000 ms/],
    ['a delimiter that is none', { roster_delimiter: '' }, /should be a text of at most 64 characters/],
    ['an option that is none', { falback: 'deny' }, /falback\. Did you mean fallback\?/],
    ['a URL of another kind', { nats_url: 'http://localhost' }, /begins with nats:\/\/ or tls:\/\/, not with http/],
    [
      'a URL that is none',
      { nats_url: ['nats://a', 'nats://b:x'] },
      /not a NATS URL: b:x|not a NATS URL: nats:\/\/b:x/,
    ],
    ['a TLS option that is none', { nats_tls: { cafile: 'x' } }, /cafile\. Did you mean ca_file\?/],
    ['TLS that is neither', { nats_tls: 'yes please' }, /nats_tls: Expected boolean/],
    ['half of a key pair', { nats_tls: { cert_file: '/etc/hosts' } }, /cert_file and key_file belong together/],
    ['a file that is not there', { nats_tls: { ca_file: '/nowhere/ca.pem' } }, /\/nowhere\/ca\.pem/],
    ['an inbox of two tokens', { nats_inbox: 'a.b' }, /'a\.b' should be letters, digits, _ and -/],
    ['a ping that never comes', { nats_ping_interval: 0 }, /nats_ping_interval: 0 ms should be/],
  ])('are refused with what would be right, and the earlier ones stay: %s', async (_what, options, pattern) => {
    const reloaded = ejabberd.reload({ modules: { mod_warder: { nats_url: broker.url, ...options } } });
    await expect(reloaded).rejects.toThrow(new RegExp(`mod_warder[^]*${pattern.source}`));
    expect(await settings('other.test')).toMatchObject({ server: 'node one' });
  });

  it.each([
    ['a token', { push_token: 'geheim es' }],
    ['a password in a URL', { nats_url: 'nats://me:geheim@[::' }],
  ])('are not shown where they may be secrets: %s', async (_what, options) => {
    const reloaded = ejabberd.reload({ modules: { mod_warder: options } });
    await expect(reloaded).rejects.toThrow(/^(?!.*geheim).*mod_warder/);
    await ejabberd.reload({});
    expect(ejabberd.output()).not.toContain('geheim');
  });

  it('keep ejabberd from starting, for without them everything would pass', async () => {
    const modules = { mod_warder: { fallback: { 'join-check': 'alow' } } };
    await expect(startEjabberd({ natsUrl: broker.url, codePaths, modules })).rejects.toThrow(/Did you mean allow\?/);
  });
});

it('the documentation has every option', async () => {
  const names = '[atom_to_binary(Name) || {Name, _} <- Pairs]';
  const documented = await ejabberd.evaluate(`(fun(#{opts := Pairs}) -> ${names} end)(mod_warder:mod_doc())`);
  const options = await ejabberd.evaluate(`(fun(Pairs) -> ${names} end)(mod_warder:mod_options(<<"localhost">>))`);
  expect(documented).toEqual(options);
});
