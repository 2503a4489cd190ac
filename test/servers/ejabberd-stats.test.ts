/** What operators of an ejabberd learn of failures: numbers from ejabberdctl, and few lines in the log; and faults of the hook's own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { ejabberdStats } from './ejabberd-stats.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';

let broker: NatsServer;
let responder: Responder;
let ejabberd: Ejabberd;

beforeAll(async () => {
  broker = await startNatsServer();
  responder = await startResponder(broker.url);
  ejabberd = await startEjabberd({
    natsUrl: broker.url,
    codePaths: [await buildHook()],
    policy: { fallback: { 'join-check': { local: 'defer', remote: 'drop' } } },
    furtherHosts: [{ host: 'other.test' }],
  });
  await ejabberd.waitForOutput(/Connected to NATS/);
});

afterAll(async () => {
  await ejabberd?.stop();
  await responder?.stop();
  await broker?.stop();
});

/** @returns what `ask` says, as ejabberd's shell prints it */
const decide = (ask: string, host = 'localhost'): Promise<string> =>
  ejabberd.shell(`{ok, Context} = mod_warder_hosts:find(<<"${host}">>),
    Fields = #{<<"user">> => <<"alice@localhost/1">>, <<"room">> => <<"den@rooms.localhost">>, <<"nick">> => <<"a">>},
    ${ask}`);
const joins = (side: string, context = 'Context'): string =>
  `mod_warder_decide:decide(${context}, join_check, ${side}, Fields, undefined)`;

const rowsOf = async (host: string): Promise<string[]> =>
  (await ejabberdStats(ejabberd))
    .filter((row) => row.host === host && row.subject.endsWith('-check'))
    .map((row) => `${row.subject} ${row.class}: ${row.name} ${row.number}`);

describe('what was asked', () => {
  it('is counted by host, verdict, failure and fallback', async () => {
    await decide(joins('local'));
    responder.on('join-check', () => ({ verdict: 'deny' }));
    await decide(joins('local'));
    responder.on('join-check', () => ({ failure: 'overloaded', text: '' }));
    await decide(joins('local'));
    await decide(joins('remote'));
    responder.on('join-check', () => ({ failure: 'too-large', text: '' }));
    await decide(joins('remote'));
    expect(await rowsOf('localhost')).toEqual([
      'join-check answers: allow 1',
      'join-check answers: deny 1',
      'join-check failures: too-large 1',
      'join-check failures: overloaded 2',
      'join-check fallbacks: deny 1',
      'join-check fallbacks: drop 1',
      'join-check fallbacks: defer 1',
    ]);
    expect(await rowsOf('other.test')).toEqual([]);
  });

  it('goes on being counted over a reload', async () => {
    const before = await rowsOf('localhost');
    await ejabberd.reconfigure({ notify: true });
    expect(await rowsOf('localhost')).toEqual(before);
  });

  it('has one line in the log for many failures of one kind', async () => {
    responder.on('join-check', () => ({ failure: 'source-unavailable', text: '' }));
    await decide(`[${joins('local')} || _ <- lists:seq(1, 50)]`, 'other.test');
    await decide('mod_warder_decide:failed(Context, join_check, expired, deny)', 'other.test');
    await ejabberd.waitForOutput(/join-check failed: expired, so: deny, at other\.test/);
    expect(ejabberd.output().match(/join-check failed: source-unavailable, so: deny, at other\.test/g)).toHaveLength(1);
    expect(await rowsOf('other.test')).toContain('join-check failures: source-unavailable 50');
  });

  it('has the number of those that were not told of, when the next is', async () => {
    // As if the line above had been written long ago.
    await decide(
      `Stats = maps:get(stats, Context), Reported = element(3, Stats), Info = atomics:info(Reported),
      [atomics:put(Reported, At, 0) || At <- lists:seq(1, maps:get(size, Info), 2)], ${joins('local')}`,
      'other.test',
    );
    await ejabberd.waitForOutput(/source-unavailable, so: deny, at other\.test \(and 49 times before\)/);
  });
});

describe('a fault of the hook', () => {
  it('takes the fallback, and is logged and counted', async () => {
    const broken = 'maps:remove(asker, Context)';
    expect(await decide(joins('local', broken), 'other.test')).toBe('#{failure => crashed, verdict => deny}');
    expect(await decide(`mod_warder_decide:fetch(${broken}, join_check, Fields, #{})`)).toBe('{error, crashed}');
    await ejabberd.waitForOutput(/Could not decide join-check:[^]*function_clause|no function clause/);
    expect(await rowsOf('other.test')).toContain('join-check failures: crashed 1');
  });

  it('in a handler ends in what its fallback means', async () => {
    const guarded =
      'mod_warder_decide:guarded(Context, join_check, remote, fun() -> error(oops) end, fun(#{verdict := Word}) -> Word end)';
    expect(await decide(guarded, 'other.test')).toBe('deny');
  });

  it('in counting costs no decision, and in what is remembered no more than a question', async () => {
    responder.on('join-check', () => ({ verdict: 'allow' }));
    expect(await decide(joins('local', 'Context#{stats := none}'), 'other.test')).toContain('verdict => allow');
    responder.on('join-check', () => ({ failure: 'internal', text: '' }));
    expect(await decide(joins('local', 'Context#{stats := none}'), 'other.test')).toContain('verdict => deny');
    responder.on('join-check', () => ({ verdict: 'allow' }));
    expect(await decide(joins('local', 'Context#{changes := nowhere}'), 'other.test')).toContain('verdict => allow');
  });
});
