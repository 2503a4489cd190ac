%%% The near cache against an oracle that remembers everything, with random interleavings; and with readers that run while
%%% changes are applied.
-module(warder_near_cache_tests).
-include_lib("eunit/include/eunit.hrl").

-define(FIRST, 1795254505599).
-define(BOUND, 2000000).

users() -> [<<"u", (integer_to_binary(I))/binary, "@d", (integer_to_binary(I rem 2))/binary, ".example">> || I <- lists:seq(1, 6)].

domain(Jid) -> lists:last(binary:split(Jid, <<"@">>)).

one_of(List) -> lists:nth(rand:uniform(length(List)), List).

random_change() ->
    User = one_of(users()),
    case rand:uniform(12) of
        1 -> all;
        2 -> {domain, domain(User)};
        3 -> {operation, one_of([stanza_check, join_check])};
        N when N =< 6 -> {room, User};
        _ -> {user, User}
    end.

touches(all, _) -> true;
touches({operation, Operation}, _) -> Operation =:= stanza_check;
touches({domain, Domain}, {From, To}) -> domain(From) =:= Domain orelse domain(To) =:= Domain;
touches({_, Jid}, {From, To}) -> Jid =:= From orelse Jid =:= To.

random_pair() ->
    From = one_of(users()),
    {From, one_of(users() -- [From])}.

request({From, To}) ->
    #{<<"hook">> => <<"send">>, <<"kind">> => <<"message">>, <<"type">> => <<"chat">>, <<"from">> => From, <<"to">> => To}.

%% The oracle: every stamp, the answer that is remembered for each pair, every proof.
-record(oracle, {seen = 0, settled = false, stamps = [], answers = #{}, proofs = []}).

forbid(Change, Number, #oracle{stamps = Stamps} = O) -> O#oracle{stamps = [{Change, Number} | Stamps]}.

oracle_numbered(Sequence, Change, #oracle{seen = Before, settled = Settled} = O) ->
    Seen = max(Before, Sequence),
    Stamped =
        if
            not Settled, Sequence =< Before -> forbid(all, Before + 1, O);
            not Settled -> forbid(all, Seen, O);
            Sequence > Before + 1 -> forbid(all, Sequence, O);
            Sequence < Before -> forbid(all, Before + 1, O);
            Change =:= tick -> O;
            true -> forbid(Change, Sequence, O)
        end,
    Stamped#oracle{seen = Seen, settled = true}.

is_forbidden(Pair, Floor, #oracle{stamps = Stamps}) ->
    lists:any(fun({Change, Number}) -> Floor < Number andalso touches(Change, Pair) end, Stamps).

allowed(Pair, Now, #oracle{settled = true, answers = Answers, proofs = Proofs, seen = Seen} = O) ->
    IsProved = lists:any(fun({Sequence, At}) -> Sequence =< Seen andalso Now - At =< ?BOUND end, Proofs),
    case Answers of
        #{Pair := {Reason, Floor, ExpiresAt}} when Now < ExpiresAt, IsProved ->
            case is_forbidden(Pair, Floor, O) of
                true -> none;
                false -> Reason
            end;
        _ -> none
    end;
allowed(_Pair, _Now, _O) ->
    none.

%% What can forbid nothing that is remembered, so that searching stays affordable.
forget(Now, #oracle{stamps = Stamps, answers = Answers, proofs = Proofs} = O) ->
    Lowest = lists:min([O#oracle.seen - 10 | [Floor || {_, Floor, _} <- maps:values(Answers)]]),
    O#oracle{
        stamps = [S || {_, Number} = S <- Stamps, Number > Lowest],
        proofs = [P || {_, At} = P <- Proofs, Now - At =< ?BOUND]
    }.

-record(run, {cache, clock, sequence = ?FIRST, oracle = #oracle{}, tickets = [], hits = 0, told = 0, exact}).

compare(Seed, MaxEntries, MaxStamps, Exact) ->
    _ = rand:seed(exsss, Seed),
    Clock = atomics:new(1, []),
    atomics:put(Clock, 1, 1000000000),
    Cache = warder_near_cache:new(#{
        clock => fun() -> atomics:get(Clock, 1) end, bound_ms => ?BOUND div 1000, max_entries => MaxEntries, max_stamps => MaxStamps
    }),
    End = lists:foldl(fun(Step, Run) -> step(Step, Run) end, #run{cache = Cache, clock = Clock, exact = Exact}, lists:seq(1, 3000)),
    {End#run.hits, warder_near_cache:stats(Cache)}.

step(Step, #run{cache = Cache, clock = Clock} = Run) ->
    Now = atomics:add_get(Clock, 1, rand:uniform(60) * 1000),
    Next = act(rand:uniform(100), Now, Run),
    ?assertEqual((Next#run.oracle)#oracle.seen, warder_near_cache:seen(Cache)),
    case Step rem 100 of
        0 -> Next#run{oracle = forget(Now, Next#run.oracle)};
        _ -> Next
    end.

act(Roll, _Now, #run{cache = Cache, sequence = Last, oracle = O} = Run) when Roll =< 6 ->
    Change = case rand:uniform(3) of 1 -> random_change(); _ -> tick end,
    %% Mostly the next, now and then a gap, an old one or the same.
    Number = case rand:uniform(40) of 1 -> Last + rand:uniform(5) + 1; 2 -> Last - rand:uniform(6) + 1; _ -> Last + 1 end,
    _ = warder_near_cache:numbered(Number, Change, Cache),
    Run#run{sequence = max(Last, Number), oracle = oracle_numbered(Number, Change, O)};
act(7, _Now, #run{cache = Cache, oracle = O} = Run) ->
    Change = random_change(),
    ok = warder_near_cache:heard(Change, Cache),
    Run#run{oracle = forbid(Change, O#oracle.seen + 1, O)};
act(8, _Now, #run{cache = Cache, oracle = O} = Run) ->
    case rand:uniform(4) of
        1 ->
            ok = warder_near_cache:connected(true, Cache),
            Run#run{oracle = forbid(all, O#oracle.seen + 1, O#oracle{settled = false})};
        _ -> Run
    end;
act(Roll, Now, #run{cache = Cache, tickets = Tickets} = Run) when Roll =< 28 ->
    Pair = random_pair(),
    Run#run{tickets = Tickets ++ [{warder_near_cache:ask(stanza_check, request(Pair), Cache), Pair, Now}]};
act(Roll, Now, #run{tickets = [{Ticket, Pair, At} | Tickets], cache = Cache, sequence = Last, oracle = O} = Run) when Roll =< 48 ->
    Ahead = case rand:uniform(4) of 1 -> rand:uniform(3); _ -> 0 end,
    Floor = Last - rand:uniform(3) + 1 + Ahead,
    {AgeMs, TtlMs, Reason} = {rand:uniform(1500), rand:uniform(8000), integer_to_binary(Run#run.told)},
    Reply = #{seq => Floor, age_ms => AgeMs, verdict => allow, scope => pair, ttl_ms => TtlMs, reason => Reason},
    O1 = O#oracle{proofs = [{Floor, At - AgeMs * 1000} | O#oracle.proofs]},
    O2 =
        case warder_near_cache:answered(Ticket, Reply, Cache) of
            true ->
                ?assert(O1#oracle.settled andalso Now < At + TtlMs * 1000),
                ?assertNot(is_forbidden(Pair, Floor, O1)),
                O1#oracle{answers = (O1#oracle.answers)#{Pair => {Reason, Floor, At + TtlMs * 1000}}};
            false -> O1
        end,
    Run#run{tickets = Tickets, told = Run#run.told + 1, oracle = O2};
act(_Roll, Now, #run{cache = Cache, oracle = O, exact = Exact} = Run) ->
    Pair = random_pair(),
    case {warder_near_cache:get(stanza_check, request(Pair), Cache), allowed(Pair, Now, O)} of
        {{ok, #{reason := Reason}}, Reason} -> Run#run{hits = Run#run.hits + 1};
        {{ok, _}, Other} -> error({served_what_is_forbidden, Other});
        {miss, none} -> Run;
        {miss, _} when Exact -> error(did_not_serve_what_is_allowed);
        {miss, _} -> Run
    end.

serves_all_that_nothing_forbids_and_nothing_else_test_() ->
    {timeout, 60, fun() ->
        Hits = lists:sum([element(1, compare(Seed, 1000, 1000000, true)) || Seed <- lists:seq(1, 30)]),
        ?assert(Hits > 1000)
    end}.

with_tables_that_are_too_small_it_serves_less_and_never_what_is_forbidden_test_() ->
    {timeout, 60, fun() ->
        Evictions = lists:sum([maps:get(evictions, element(2, compare(Seed, 6, 2, false))) || Seed <- lists:seq(31, 50)]),
        ?assert(Evictions > 500)
    end}.

%% Readers run while one process applies changes. Each change raises the version of its user before it is applied, as an
%% application does; answers carry the version that was true when their floor was. A reader notes the versions that were
%% applied before it looks; what it gets must not be older.
readers_never_get_what_is_older_than_a_change_that_was_applied_before_test_() ->
    [{timeout, 60, fun() -> run_readers(MaxEntries, MaxStamps) end} || {MaxEntries, MaxStamps} <- [{1000, 100000}, {8, 3}]].

run_readers(MaxEntries, MaxStamps) ->
    Count = 8,
    Cache = warder_near_cache:new(#{bound_ms => 60000, max_entries => MaxEntries, max_stamps => MaxStamps}),
    ok = warder_near_cache:connected(true, Cache),
    Versions = atomics:new(Count, []),
    Applied = atomics:new(Count, []),
    {Stop, Hits} = {atomics:new(1, []), counters:new(1, [])},
    _ = warder_near_cache:numbered(?FIRST, tick, Cache),
    %% Of each sequence, the versions that were true once it had been applied.
    Truth = ets:new(truth, [public]),
    ets:insert(Truth, {?FIRST, list_to_tuple(lists:duplicate(Count, 0))}),
    Readers = [spawn_monitor(fun() -> reader(Cache, Count, Applied, Truth, Stop, Hits) end) || _ <- lists:seq(1, 6)],
    ok = apply_changes(1, Count, {Cache, Versions, Applied, Truth, Hits}),
    atomics:put(Stop, 1, 1),
    [receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Ref} <- Readers],
    #{entries := Entries} = warder_near_cache:stats(Cache),
    ?assert(Entries =< MaxEntries + 16).

%% Until the readers have had enough to be wrong about.
apply_changes(N, Count, {Cache, Versions, Applied, Truth, Hits} = Scene) ->
    I = rand:uniform(Count),
    Sequence = ?FIRST + N,
    Version = atomics:add_get(Versions, I, 1),
    [{_, Before}] = ets:lookup(Truth, Sequence - 1),
    ets:insert(Truth, {Sequence, setelement(I, Before, Version)}),
    Change = case rand:uniform(20) of 1 -> all; 2 -> {domain, <<"d">>}; 3 -> {operation, stanza_check}; _ -> {user, jid(I)} end,
    _ = warder_near_cache:numbered(Sequence, Change, Cache),
    atomics:put(Applied, I, Version),
    erlang:yield(),
    case N >= 5000 andalso counters:get(Hits, 1) >= 1000 of
        true -> ok;
        false -> apply_changes(N + 1, Count, Scene)
    end.

jid(I) -> <<"u", (integer_to_binary(I))/binary, "@d">>.

reader(Cache, Count, Applied, Truth, Stop, Hits) ->
    I = rand:uniform(Count),
    Request = request({jid(I), <<"peer@elsewhere">>}),
    Least = atomics:get(Applied, I),
    Found = warder_near_cache:get(stanza_check, Request, Cache),
    ok =
        case Found of
            {ok, #{reason := Reason}} ->
                binary_to_integer(Reason) >= Least orelse error({older_than_a_change, binary_to_integer(Reason), Least}),
                counters:add(Hits, 1, 1);
            miss ->
                %% A worker that knows what this node has seen, or a little less, answers from that.
                Ticket = warder_near_cache:ask(stanza_check, Request, Cache),
                Floor = max(?FIRST, warder_near_cache:seen(Cache) - rand:uniform(4) + 1),
                [{_, Then}] = ets:lookup(Truth, Floor),
                Version = integer_to_binary(element(I, Then)),
                Reply = #{seq => Floor, age_ms => 0, verdict => allow, scope => pair, ttl_ms => 60000, reason => Version},
                _ = warder_near_cache:answered(Ticket, Reply, Cache),
                ok
        end,
    case atomics:get(Stop, 1) of
        0 -> reader(Cache, Count, Applied, Truth, Stop, Hits);
        1 -> ok
    end.

%% Without JetStream.

counted() ->
    Self = self(),
    Cache = warder_near_cache:new(#{on_uncounted => fun() -> Self ! uncounted end}),
    ok = warder_near_cache:connected(false, Cache),
    Cache.

told(Pair, Cache) ->
    Ticket = warder_near_cache:ask(stanza_check, request(Pair), Cache),
    warder_near_cache:answered(Ticket, #{seq => 0, age_ms => 0, verdict => deny, scope => pair, ttl_ms => 60000}, Cache).

without_jetstream_it_counts_what_it_hears_test() ->
    Cache = counted(),
    Pair = {<<"a@b">>, <<"c@d">>},
    ?assertNot(told(Pair, Cache)),
    receive uncounted -> ok after 0 -> error(not_told) end,
    ok = warder_near_cache:count_alone(Cache),
    ?assert(told(Pair, Cache)),
    ?assertMatch({ok, #{verdict := deny}}, warder_near_cache:get(stanza_check, request(Pair), Cache)),
    ?assertEqual(0, warder_near_cache:min_seq(Cache)),
    Asked = warder_near_cache:ask(stanza_check, request(Pair), Cache),
    ok = warder_near_cache:heard({user, <<"c@d">>}, Cache),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, request(Pair), Cache)),
    ?assertNot(warder_near_cache:answered(Asked, #{seq => 0, age_ms => 0, verdict => allow, scope => pair, ttl_ms => 60000}, Cache)),
    ?assert(told(Pair, Cache)),
    _ = warder_near_cache:numbered(?FIRST, tick, Cache),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, request(Pair), Cache)),
    ?assertEqual(?FIRST, warder_near_cache:min_seq(Cache)).

ahead(Fields) ->
    maps:merge(#{seq => ?FIRST + 5, age_ms => 0, verdict => allow, scope => pair, ttl_ms => 60000}, Fields).

counting_begins_above_what_a_worker_was_ahead_with_test() ->
    Cache = settled(),
    Request = request({<<"a@b">>, <<"c@d">>}),
    ?assert(warder_near_cache:answered(warder_near_cache:ask(stanza_check, Request, Cache), ahead(#{}), Cache)),
    ok = warder_near_cache:connected(false, Cache),
    ok = warder_near_cache:count_alone(Cache),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, Request, Cache)),
    ?assert(told({<<"a@b">>, <<"c@d">>}, Cache)),
    ?assertMatch({ok, #{verdict := deny}}, warder_near_cache:get(stanza_check, Request, Cache)),
    ok = warder_near_cache:clear(Cache),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, Request, Cache)),
    ?assert(told({<<"a@b">>, <<"c@d">>}, Cache)).

%% The clock is read between the look at the stamps and the entry's way into the table.
an_answer_that_is_just_being_stored_when_counting_begins_is_not_served_test() ->
    Parts = ets:new(parts, []),
    Clock = fun() ->
        _ = [Begin() || {begin_counting, Begin} <- ets:take(Parts, begin_counting)],
        erlang:monotonic_time(microsecond)
    end,
    Cache = warder_near_cache:new(#{clock => Clock}),
    ok = warder_near_cache:connected(true, Cache),
    _ = warder_near_cache:numbered(?FIRST, tick, Cache),
    Request = request({<<"a@b">>, <<"c@d">>}),
    Ticket = warder_near_cache:ask(stanza_check, Request, Cache),
    Begin = fun() ->
        ok = warder_near_cache:connected(false, Cache),
        ok = warder_near_cache:count_alone(Cache)
    end,
    true = ets:insert(Parts, {begin_counting, Begin}),
    _ = warder_near_cache:answered(Ticket, ahead(#{}), Cache),
    ?assertEqual(counted, warder_near_cache:mode(Cache)),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, Request, Cache)).

%% The process that owns the cache was started again meanwhile, and its count began anew.
what_was_asked_in_another_life_of_the_cache_is_not_remembered_test() ->
    {Before, After} = {counted(), counted()},
    Pair = {<<"a@b">>, <<"c@d">>},
    _ = [ok = warder_near_cache:count_alone(Cache) || Cache <- [Before, After]],
    _ = [ok = warder_near_cache:heard({user, <<"e@f">>}, Before) || _ <- lists:seq(1, 10)],
    Ticket = warder_near_cache:ask(stanza_check, request(Pair), Before),
    ok = warder_near_cache:heard({user, <<"c@d">>}, After),
    Reply = #{seq => 0, age_ms => 0, verdict => allow, scope => pair, ttl_ms => 60000},
    ?assertNot(warder_near_cache:answered(Ticket, Reply, After)),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, request(Pair), After)),
    ?assert(told(Pair, After)).

everything_can_be_cleared_also_what_a_worker_was_ahead_with_test() ->
    Cache = settled(),
    Request = request({<<"a@b">>, <<"c@d">>}),
    ?assert(store(stanza_check, request({<<"e@f">>, <<"c@d">>}), #{}, Cache)),
    ?assert(store(stanza_check, Request, #{seq => ?FIRST + 5}, Cache)),
    ?assertMatch({ok, _}, warder_near_cache:get(stanza_check, Request, Cache)),
    ok = warder_near_cache:clear(Cache),
    ?assertEqual(miss, warder_near_cache:get(stanza_check, Request, Cache)),
    ?assertNot(store(stanza_check, Request, #{seq => ?FIRST + 5}, Cache)),
    ?assert(store(stanza_check, Request, #{seq => ?FIRST + 6}, Cache)).

a_broker_with_jetstream_is_not_taken_for_one_without_test() ->
    Cache = warder_near_cache:new(#{on_uncounted => fun() -> error(believed) end}),
    ok = warder_near_cache:connected(true, Cache),
    ?assertNot(told({<<"a@b">>, <<"c@d">>}, Cache)),
    ok = warder_near_cache:count_alone(Cache),
    ?assertEqual(unsettled, warder_near_cache:mode(Cache)).

settled() ->
    Cache = warder_near_cache:new(#{}),
    ok = warder_near_cache:connected(true, Cache),
    _ = warder_near_cache:numbered(?FIRST, tick, Cache),
    Cache.

store(Operation, Request, Fields, Cache) ->
    Reply = maps:merge(#{seq => ?FIRST, age_ms => 0, verdict => allow, scope => pair, ttl_ms => 60000}, Fields),
    warder_near_cache:answered(warder_near_cache:ask(Operation, Request, Cache), Reply, Cache).

what_must_not_be_remembered_is_not_test_() ->
    Cache = fun settled/0,
    Request = request({<<"a@b/r">>, <<"c@d">>}),
    [
        ?_assertNot(store(stanza_check, Request, Fields, Cache()))
     || Fields <- [
            #{verdict => defer}, #{verdict => modify}, #{notify => <<"x">>}, #{degraded => <<"overloaded">>}, #{scope => none},
            #{scope => room}, #{ttl_ms => 0}, #{seq => ?FIRST - 1}, #{seq => 0}
        ]
    ] ++ [?_assertNot(store(roster_set, #{<<"user">> => <<"a@b">>, <<"contact">> => <<"c@d">>}, #{}, Cache()))].

scopes_test() ->
    Join = #{<<"user">> => <<"a@b/r">>, <<"room">> => <<"r@c">>, <<"nick">> => <<"n">>},
    Cases = [
        {stanza_check, pair, request({<<"a@b/1">>, <<"c@d">>}), request({<<"a@b/2">>, <<"c@d/x">>}), request({<<"c@d">>, <<"a@b">>})},
        {stanza_check, pair_full, request({<<"a@b/1">>, <<"c@d">>}), request({<<"a@b/1">>, <<"c@d">>}), request({<<"a@b/2">>, <<"c@d">>})},
        {stanza_check, sender, request({<<"a@b/1">>, <<"c@d">>}), request({<<"a@b">>, <<"e@f">>}), request({<<"c@d">>, <<"a@b">>})},
        {join_check, room, Join, Join#{<<"nick">> := <<"m">>, <<"event">> => <<"join">>}, Join#{<<"room">> := <<"s@c">>}},
        {join_check, pair, Join, Join#{<<"user">> := <<"a@b/s">>}, Join#{<<"creating">> => true}},
        {session_check, sender, #{<<"user">> => <<"a@b/r">>}, #{<<"user">> => <<"a@b/s">>}, #{<<"user">> => <<"c@b/r">>}}
    ],
    [
        begin
            Cache = settled(),
            ?assert(store(Operation, Asked, #{scope => Scope}, Cache)),
            ?assertMatch({ok, #{verdict := allow}}, warder_near_cache:get(Operation, Same, Cache)),
            ?assertEqual(miss, warder_near_cache:get(Operation, Other, Cache))
        end
     || {Operation, Scope, Asked, Same, Other} <- Cases
    ].
