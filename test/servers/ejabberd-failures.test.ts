/** What a real ejabberd does when there is no answer, or none that is one, or the hook itself fails; and how its command shows it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failSafely } from './behaviours/failures.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { ejabberdStats } from './ejabberd-stats.ts';
import { startSceneOn } from './policy-scene.ts';
import type { SceneOf } from './policy-scene.ts';
import { connectComponent } from './xmpp-component.ts';
import { enterRoom, errorOf, hasBody, isFrom, message } from './xmpp-client.ts';
import type { XmppServer } from './xmpp-server.ts';

const scene = failSafely(ejabberdKind);

describe('the command', () => {
  it('shows how often each kind of failure and each fallback happened', async () => {
    const rows = await ejabberdStats(scene().server);
    const counted = rows
      .filter(({ host, subject, number }) => host === 'deny.test' && subject === 'stanza-check' && number > 0)
      .map((row) => `${row.class} ${row.name}`);

    expect(counted).toEqual(
      expect.arrayContaining(['failures source-unavailable', 'failures bad-reply', 'failures no-responders']),
    );
    expect(counted).toContain('fallbacks deny');
    expect(rows).toContainEqual(expect.objectContaining({ subject: 'asked-twice', class: 'now', name: 'hedged' }));
  });
});

describe('a fault inside the hook, which ejabberd lets everything pass for', () => {
  let broken: SceneOf<XmppServer>;

  beforeAll(async () => {
    const fallback = { 'stanza-check': 'deny', 'join-check': 'deny' };
    const policy = { stanzaHooks: ['send', 'local', 'receive', 'offline'] as const, stanzaKinds: ['message'] as const };
    broken = await startSceneOn(ejabberdKind, {
      policy,
      furtherHosts: [{ host: 'strict.test', policy: { ...policy, fallback } }, { host: 'pass.test' }],
      components: { 'gateway.localhost': 'secret' },
    });
  });

  afterAll(() => broken?.stop());

  /** Until `repair`: every look at what is to be checked where raises. */
  async function breakAt(host: string, hooks: string): Promise<void> {
    const key = `{mod_warder_hosts, <<"${host}">>}`;
    await broken.server.shell(
      `C = persistent_term:get(${key}), S = maps:get(settings, C), ` +
        `persistent_term:put(${key}, C#{settings := S#{kinds := broken, hooks := ${hooks}}})`,
    );
  }

  it('takes the fallback at every hook', async () => {
    const { server } = broken;
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob', { domain: 'strict.test' })]);
    await server.register('carol', 'strict.test');
    await enterRoom(alice, 'hall@rooms.localhost', 'alice');
    const gateway = await connectComponent(server.componentPort, 'gateway.localhost', 'secret');
    const refused = { type: 'cancel', condition: 'not-allowed', text: 'This is not allowed here' };
    for (const [hook, recipient] of [
      ['local', bob.bare],
      ['receive', bob.bare],
      ['offline', 'carol@strict.test'],
    ] as const) {
      await breakAt('strict.test', `#{${hook === 'receive' ? "'receive'" : hook} => true}`);
      const stanza = message(recipient, hook);
      await alice.send(stanza);
      expect(errorOf(await alice.reply(stanza.attrs['id'] ?? ''))).toEqual(refused);
      gateway.send(message(recipient, hook, { from: 'zoe@gateway.localhost/1', id: hook }));
      expect(errorOf(await gateway.take('the error', (one) => one.attrs['id'] === hook))).toEqual(refused);
    }
    await breakAt('strict.test', '#{send => true}');
    const stanza = message(alice.bare, 'never');
    await bob.send(stanza);
    expect(errorOf(await bob.reply(stanza.attrs['id'] ?? ''))).toEqual(refused);
    await breakAt('localhost', "#{send => true, local => true, 'receive' => true}");
    await alice.send(message(bob.bare, 'passes'));

    await bob.take('what passes where that is the fallback', hasBody('passes'));
    expect(bob.inbox.map(String)).toEqual([]);
    expect(alice.inbox.filter(isFrom(bob.jid)).map(String)).toEqual([]);
    expect(server.output()).toMatch(/Could not decide stanza-check/);
    expect(server.output()).not.toMatch(/crashed when running/);
    gateway.stop();
  });

  it('undoes no verdict: what was denied does not pass because it cannot be said', async () => {
    const { server, responder } = broken;
    const [dora, emil] = await Promise.all([server.connect('dora', { domain: 'pass.test' }), server.connect('emil')]);
    responder.on('stanza-check', (asked) =>
      String(asked['stanza']).includes('marker')
        ? { verdict: 'allow' }
        : { verdict: 'deny', error: { xml: '<error/>' } },
    );
    // What is left of the module has no function for errors.
    const forms = [
      '-module(mod_warder_stanza_xml).',
      '-export([text/1]).',
      'text(S) -> fxml:element_to_binary(xmpp:encode(S)).',
    ];
    await server.shell(
      `Forms = [begin {ok, T, _} = erl_scan:string(F), {ok, P} = erl_parse:parse_form(T), P end || F <- ${JSON.stringify(forms)}], ` +
        '{ok, M, B} = compile:forms(Forms), {module, M} = code:load_binary(M, "broken", B)',
    );
    await dora.send(message(emil.bare, 'denied'));
    await dora.send(message(emil.bare, 'marker'));

    await emil.take('the marker', hasBody('marker'));
    expect(emil.inbox.map(String)).toEqual([]);
    expect(server.output()).toMatch(/Could not act on deny: error undef/);
    // It says where the fault is, and nothing of what was there.
    expect(server.output()).not.toMatch(/<error\/>|marker/);
  });
});

it('who sends from a component is heard again when the process that his stanzas waited in is killed', async () => {
  const { server, responder, stop } = await startSceneOn(ejabberdKind, {
    policy: { stanzaHooks: ['local'], stanzaKinds: ['message'], timeoutsMs: { 'stanza-check': 60_000 } },
    components: { 'gateway.localhost': 'secret' },
  });
  try {
    const bob = await server.connect('bob');
    const gateway = await connectComponent(server.componentPort, 'gateway.localhost', 'secret');
    responder.on('stanza-check', () => undefined);
    const zoe = 'zoe@gateway.localhost/1';
    gateway.send(message(bob.bare, 'lost', { from: zoe }));
    await responder.untilAsked('stanza-check');
    const isInLine = 'binary:match(element(2, process_info(P, backtrace)), <<"mod_warder_line:route">>) =/= nomatch';
    const killed = await server.shell(
      `length([exit(P, kill) || P <- processes() -- [self()], is_process_alive(P), ${isInLine}])`,
    );
    expect(killed).toBe('1');
    responder.on('stanza-check', () => ({ verdict: 'allow' }));
    gateway.send(message(bob.bare, 'heard', { from: zoe }));

    await bob.take('the next message', hasBody('heard'));
    gateway.stop();
  } finally {
    await stop();
  }
});
