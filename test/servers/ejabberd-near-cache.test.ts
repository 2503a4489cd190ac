/** What the ejabberd hook remembers, and what makes it forget; and what of it is ejabberd's own. */
import { describe, expect, it } from 'vitest';
import { json } from './application.ts';
import { rememberAndForget } from './behaviours/near-cache.ts';
import { ejabberdKind } from './ejabberd-kind.ts';
import { ejabberdStats } from './ejabberd-stats.ts';
import { usePair } from './near-cache-pair.ts';
import { send } from './near-cache-scene.ts';

describe('the near cache of ejabberd', () => rememberAndForget(ejabberdKind));

describe('what is remembered on ejabberd', () => {
  const pair = usePair(ejabberdKind);

  it('is counted by verdict, for ejabberdctl', async () => {
    const { scene, alice, bob } = pair();
    const remembered = async (): Promise<number> => {
      const rows = await ejabberdStats(scene.server);
      const row = rows.find(
        (one) => `${one.host} ${one.subject} ${one.class} ${one.name}` === 'localhost stanza-check remembered allow',
      );
      return row?.number ?? 0;
    };
    const before = await remembered();
    await send(alice, bob);
    await send(alice, bob);
    expect(await remembered()).toBe(before + 1);
  });

  it.each(['pair', 'sender'])('is nothing of a JID that is not in normal form (%s)', async (scope) => {
    const { scene, alice, bob, costOf } = pair();
    scene.application.answer(json({ verdict: 'allow', scope }));
    await scene.warder('flush', 'user', alice.bare);
    await scene.untilRemembered(() => send(alice, bob));
    const ask = async (to: string): Promise<void> =>
      void (await scene.server.shell(`{ok, Context} = mod_warder_hosts:find(<<"localhost">>),
        Fields = #{<<"from">> => <<"${alice.jid}">>, <<"to">> => <<"${to}"/utf8>>, <<"kind">> => <<"message">>,
          <<"type">> => <<"chat">>, <<"hook">> => <<"send">>, <<"stanza">> => <<"<message/>">>},
        mod_warder_decide:decide(Context, stanza_check, local, Fields, undefined)`));
    expect(await costOf(() => ask(bob.bare))).toBe(0);
    const spellings = [bob.bare.toUpperCase(), `${bob.bare}.`, bob.bare.replace('bob', 'b\u00f6b').toUpperCase()];
    for (const other of spellings) {
      for (const round of [1, 2])
        expect({ other, round, cost: await costOf(() => ask(other)) }).toMatchObject({ cost: 1 });
    }
  });
});
