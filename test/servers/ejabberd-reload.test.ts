/** Other options for a running ejabberd, and what its hosts share and leave behind. */
import { connect } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reloadSafely } from './behaviours/reload.ts';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';

describe('in a running ejabberd', () => reloadSafely(ejabberdKind));

describe('what hosts share', () => {
  let broker: NatsServer;
  let ejabberd: Ejabberd;
  const one = { host: 'one.test' };
  const two = { host: 'two.test', policy: { nearCacheEntries: 7 } };
  const options = { host: 'zero.test', furtherHosts: [one, two] };

  beforeAll(async () => {
    broker = await startNatsServer({ jetstream: true });
    ejabberd = await startEjabberd({ ...options, natsUrl: broker.url, codePaths: [await buildHook()] });
    await ejabberd.waitForOutput(/Connected to NATS/);
  });

  afterAll(async () => {
    await ejabberd?.stop();
    await broker?.stop();
  });

  /** What a host works with, each with the process that it is. */
  async function sharedBy(host: string): Promise<{ readonly connection: string; readonly nearCache: string }> {
    const named = (key: string): string =>
      `${key} => iolist_to_binary(io_lib:format("~p ~p", [maps:get(${key}, Context), whereis(maps:get(${key}, Context))]))`;
    const context = `{ok, Context} = mod_warder_hosts:find(<<"${host}">>)`;
    const { client, changes } = (await ejabberd.evaluate(
      `begin ${context}, #{${named('client')}, ${named('changes')}} end`,
    )) as { client: string; changes: string };
    return { connection: client, nearCache: changes };
  }

  const runs = (named: string): Promise<unknown> => ejabberd.evaluate(`is_pid(whereis(${named.split(' ')[0]}))`);

  it('is one connection for the same options of it, and one near cache for the same of that', async () => {
    const zero = await sharedBy('zero.test');
    const second = await sharedBy('two.test');
    expect(await sharedBy('one.test')).toEqual(zero);
    expect(second.connection).toBe(zero.connection);
    expect(second.nearCache).not.toBe(zero.nearCache);
    expect(ejabberd.output().match(/Connected to NATS/g)).toHaveLength(1);
  });

  it('goes on over a reload as far as its options are what they were', async () => {
    const zero = await sharedBy('zero.test');
    const second = await sharedBy('two.test');
    const changed = { host: 'two.test', policy: { nearCacheEntries: 8 } };
    await ejabberd.reload({ policy: { notify: true }, furtherHosts: [one, changed] });
    expect(await sharedBy('zero.test')).toEqual(zero);
    const after = await sharedBy('two.test');
    expect(after.connection).toBe(second.connection);
    expect(after.nearCache).not.toBe(second.nearCache);
    expect(await runs(second.nearCache)).toBe(false);
  });

  it('is another connection as soon as its options are others, and the earlier one ends with its last host', async () => {
    const before = await sharedBy('one.test');
    await ejabberd.reload({ modules: { mod_warder: { nats_url: broker.url, nats_name: 'another' } } });
    const after = await sharedBy('zero.test');
    expect(after.connection).not.toBe(before.connection);
    expect(await sharedBy('one.test')).toEqual(after);
    expect(await runs(before.connection)).toBe(false);
    expect(await runs(before.nearCache)).toBe(false);
    await ejabberd.waitForOutput(/(Connected to NATS[^]*){2}/);
  });

  it('has seen what was seen, though the near cache is another', async () => {
    await ejabberd.reload({});
    const nats = await connect({ servers: broker.url });
    await (
      await nats.jetstreamManager()
    ).streams.add({
      name: 'WARDER_INVALIDATIONS',
      subjects: ['xmpp.policy.v1.invalidate'],
      republish: { src: 'xmpp.policy.v1.invalidate', dest: 'xmpp.policy.v1.invalidated' },
    });
    const seen = (): Promise<unknown> =>
      ejabberd.evaluate(
        `begin {ok, #{changes := Changes}} = mod_warder_hosts:find(<<"zero.test">>), warder_changes:seen(Changes) end`,
      );
    for (let count = 0; count < 3; count += 1) nats.publish('xmpp.policy.v1.invalidate', '{"v":1,"user":"a@b"}');
    while ((await seen()) !== 3);
    await nats.close();
    const before = await sharedBy('zero.test');
    await ejabberd.reload({ policy: { nearCacheEntries: 9 } });
    expect((await sharedBy('zero.test')).nearCache).not.toBe(before.nearCache);
    expect(await seen()).toBe(3);
  });

  it.each([
    // More often than its own supervisor bears.
    ['a process of it ends', 'exit(Await(Client, none), kill)', 15],
    ['its supervisor is killed', 'exit(Supervisor(), kill)', 3],
  ])('comes back, with all that its hosts need, however often %s', async (_what, kill, times) => {
    const before = await sharedBy('two.test');
    await ejabberd.shell(`
      {ok, #{client := Client, changes := Changes}} = mod_warder_hosts:find(<<"two.test">>),
      Supervisor = fun() -> element(2, lists:keyfind({mod_warder_hosts, Client}, 1,
        supervisor:which_children(ejabberd_gen_mod_sup))) end,
      Await = fun Await(Name, Gone) -> case whereis(Name) of
        Pid when is_pid(Pid), Pid =/= Gone -> Pid;
        _ -> timer:sleep(5), Await(Name, Gone)
      end end,
      [begin Old = Await(Changes, none), ${kill}, Await(Changes, Old) end || _ <- lists:seq(1, ${times})]`);
    const after = await sharedBy('two.test');
    expect(after.connection).not.toBe(before.connection);
    expect(after.connection).not.toContain('undefined');
    expect((await sharedBy('zero.test')).nearCache).not.toContain('undefined');
  });
});

describe('a host whose module is stopped', () => {
  let broker: NatsServer;
  let ejabberd: Ejabberd;

  beforeAll(async () => {
    broker = await startNatsServer({ jetstream: true });
    ejabberd = await startEjabberd({
      natsUrl: broker.url,
      codePaths: [await buildHook()],
      policy: { roster: true, rosterDelimiter: '::' },
      furtherHosts: [{ host: 'other.test' }],
    });
    await ejabberd.waitForOutput(/Connected to NATS/);
  });

  afterAll(async () => {
    await ejabberd?.stop();
    await broker?.stop();
  });

  const ours = `fun(Name) -> lists:prefix("warder_", Name) orelse lists:prefix("mod_warder", Name) end`;

  /** What there is of the hook: hooks, processes by their modules, tables and persistent terms; with `host` of that host alone. */
  async function left(): Promise<Record<string, readonly string[]>> {
    return (await ejabberd.evaluate(`begin
      Ours = ${ours},
      IsOurs = fun(Name) -> is_atom(Name) andalso Ours(atom_to_list(Name)) end,
      Text = fun(Term) -> unicode:characters_to_binary(io_lib:format("~0p", [Term])) end,
      #{
        hooks => [Text({Hook, Host, Module}) ||
          Row <- ets:tab2list(hooks), {Hook, Host} <- [element(1, Row)],
          {_, Module, _} <- element(2, Row), IsOurs(Module)],
        processes => [Text({Module, Pid}) || Pid <- processes(),
          {Module, _, _} <- [proc_lib:translate_initial_call(Pid)], IsOurs(Module)],
        tables => [Text(Name) || Table <- ets:all(), Name <- [ets:info(Table, name)], IsOurs(Name)],
        terms => [Text(Key) || {Key, _} <- persistent_term:get(),
          Name <- [case is_tuple(Key) andalso tuple_size(Key) > 0 of true -> element(1, Key); false -> Key end], IsOurs(Name)],
        commands => [Text(Name) || {Name, _, _} <- ejabberd_commands:list_commands(), Name =:= warder_stats]
      }
    end`)) as Record<string, readonly string[]>;
  }

  it('leaves nothing of itself, and takes nothing from others', async () => {
    const before = await left();
    expect(before['hooks']?.some((hook) => hook.includes('other.test'))).toBe(true);
    await ejabberd.shell('ok = gen_mod:stop_module(<<"other.test">>, mod_warder)');
    const after = await left();
    expect(after['hooks']).toEqual(before['hooks']?.filter((hook) => !hook.includes('other.test')));
    expect(after['terms']?.filter((term) => term.includes('mod_warder_hosts') && term.includes('other.test'))).toEqual(
      [],
    );
    expect(after['commands']).toEqual(['warder_stats']);
  });

  it('leaves nothing at all when it was the last, but what keeps rosters for its return and what was counted', async () => {
    await ejabberd.shell('ok = gen_mod:stop_module(<<"localhost">>, mod_warder)');
    const roster = /warder_roster_/;
    const after = Object.entries(await left()).map(([what, all]) => [
      what,
      all
        .filter((one) => !roster.test(one))
        .map((one) => one.replace(/<[\d.]+>/, 'Pid'))
        .toSorted(),
    ]);
    const terms = [
      // Who this node is, for when it comes back.
      'warder_secret',
      'mod_warder_stats',
      '{mod_warder_stats,<<"localhost">>}',
      '{mod_warder_stats,<<"other.test">>}',
      'warder_changes',
    ].toSorted();
    const processes = ['{warder_reporter,Pid}'];
    expect(Object.fromEntries(after)).toEqual({ hooks: [], processes, tables: [], terms, commands: [] });
  });
});
