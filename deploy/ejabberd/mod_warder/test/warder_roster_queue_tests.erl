%%% Whose roster is asked for next.
-module(warder_roster_queue_tests).

-include_lib("eunit/include/eunit.hrl").

-define(QUEUE, warder_roster_queue_test).

queue_test_() ->
    [
        {"so many are asked for at once, and the next when one has left", with(2, fun so_many_at_once/0)},
        {"the two lines take turns", with(1, fun lines_take_turns/0)},
        {"who has ended keeps nobody waiting, whether it was his turn or not", with(1, fun ends/0)},
        {"who leaves twice, or before his turn, counts once", with(1, fun leaves_twice/0)}
    ].

with(Most, Test) ->
    {setup, fun() -> {ok, Pid} = warder_roster_queue:start_link({local, ?QUEUE}, Most), Pid end, fun gen_server:stop/1, Test}.

so_many_at_once() ->
    [A, B, C] = [warder_roster_queue:wait(?QUEUE, mass) || _ <- [a, b, c]],
    ?assertEqual([A, B], turns()),
    ok = warder_roster_queue:leave(?QUEUE, B),
    ?assertEqual([C], turns()).

lines_take_turns() ->
    First = warder_roster_queue:wait(?QUEUE, mass),
    Mass = [warder_roster_queue:wait(?QUEUE, mass) || _ <- [1, 2, 3]],
    Single = [warder_roster_queue:wait(?QUEUE, single) || _ <- [1, 2, 3]],
    [First, S1, M1, S2, M2, S3, M3] = all_turns(7),
    ?assertEqual(Single, [S1, S2, S3]),
    ?assertEqual(Mass, [M1, M2, M3]).

ends() ->
    Self = self(),
    Waits = fun() ->
        Ref = warder_roster_queue:wait(?QUEUE, single),
        Self ! {waits, Ref},
        receive
            stop -> ok
        end
    end,
    [First, Second] = [spawn(Waits) || _ <- [1, 2]],
    [receive {waits, _} -> ok end || _ <- [1, 2]],
    Mine = warder_roster_queue:wait(?QUEUE, single),
    ?assertEqual([], turns()),
    Second ! stop,
    First ! stop,
    ?assertEqual([Mine], all_turns(1)).

leaves_twice() ->
    [A, B, C, D] = [warder_roster_queue:wait(?QUEUE, single) || _ <- [1, 2, 3, 4]],
    ok = warder_roster_queue:leave(?QUEUE, B),
    ok = warder_roster_queue:leave(?QUEUE, A),
    ok = warder_roster_queue:leave(?QUEUE, A),
    ?assertEqual([A, C], turns()),
    ok = warder_roster_queue:leave(?QUEUE, C),
    ?assertEqual([D], turns()).

%% Whose turn it has become, when the queue has done what it was told.
turns() ->
    _ = sys:get_state(?QUEUE),
    taken().

taken() ->
    receive
        {warder_roster_turn, Ref} -> [Ref | taken()]
    after 0 -> []
    end.

%% Each leaves when it was his turn.
all_turns(0) ->
    [];
all_turns(Count) ->
    receive
        {warder_roster_turn, Ref} ->
            ok = warder_roster_queue:leave(?QUEUE, Ref),
            [Ref | all_turns(Count - 1)]
    end.
