%%% Questions through a real broker to a worker that answers as the test says, and changes as the broker tells them.
-module(warder_ask_tests).
-include_lib("eunit/include/eunit.hrl").

-define(SUBJECT, <<"xmpp.policy.v1.stanza-check">>).

with(Test) ->
    with(#{}, Test).

with(AskerOptions, Test) ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        forget_asked(),
        Broker = warder_test_broker:start(),
        {ok, Client} = warder_nats:start_link(tn, #{servers => warder_test_broker:url(Broker)}),
        {ok, Status} = warder_nats:listen(tn),
        receive {warder_nats, Status, {connected, _}} -> ok end,
        try
            Test(warder_ask:new(AskerOptions#{client => tn, server => <<"node">>}))
        after
            unlink(Client),
            exit(Client, shutdown),
            warder_test_broker:stop(Broker)
        end
    end}.

%% Answers each request by one function after the other; the last one stays. Tells the test what it was asked.
worker(Subject, Answers) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        {ok, Ref} = warder_nats:subscribe(tn, Subject, <<"warder">>),
        flush(),
        Self ! {self(), ready},
        answer(Self, Ref, Answers)
    end),
    receive {Pid, ready} -> Pid end.

flush() ->
    {error, no_responders} = warder_nats:request(tn, <<"nobody">>, <<>>, erlang:monotonic_time(millisecond) + 20000).

answer(Self, Ref, [Answer | Others] = Answers) ->
    receive
        {warder_nats, Ref, {message, #{reply := Reply, payload := Payload}}} ->
            {ok, Request} = warder_codec:decode(Payload),
            Self ! {asked, Request},
            case Answer(Request) of
                silence -> ok;
                Bytes when is_binary(Bytes) -> ok = warder_nats:publish(tn, Reply, Bytes);
                Map -> ok = warder_nats:publish(tn, Reply, warder_codec:encode(maps:merge(maps:with([<<"id">>, <<"v">>], Request), Map), messagepack))
            end,
            answer(Self, Ref, case Others of [] -> Answers; _ -> Others end)
    end.

asked() -> receive {asked, Request} -> Request after 20000 -> error(not_asked) end.

%% All tests run in one process.
forget_asked() -> receive {asked, _} -> forget_asked() after 0 -> ok end.

not_asked() -> receive {asked, _} -> error(asked_again) after 0 -> ok end.

allow(_) -> #{<<"verdict">> => <<"allow">>, <<"seq">> => 5, <<"age_ms">> => 1}.

failure(Word) -> fun(_) -> #{<<"failure">> => Word, <<"text">> => <<"t">>} end.

check(Asker) -> check(Asker, #{}).
check(Asker, Options) ->
    Request = #{<<"hook">> => <<"send">>, <<"from">> => <<"a@b">>, <<"to">> => <<"c@d">>, <<"kind">> => <<"iq">>, <<"stanza">> => fun() -> <<"<iq/>">> end},
    warder_ask:ask(Asker, stanza_check, Request, maps:merge(#{budget_ms => 20000}, Options)).

a_question_has_its_envelope_and_the_reply_comes_checked_test_() ->
    with(#{min_seq => fun() -> 7 end}, fun(Asker) ->
        _ = worker(?SUBJECT, [fun allow/1]),
        ?assertMatch({ok, #{verdict := allow, seq := 5, scope := none, asked_at := _, answered_at := _}}, check(Asker)),
        Request = asked(),
        ?assertMatch(#{<<"v">> := 1, <<"server">> := <<"node">>, <<"min_seq">> := 7, <<"stanza">> := <<"<iq/>">>}, Request),
        #{<<"id">> := Id, <<"budget_ms">> := Budget} = Request,
        ?assert(byte_size(Id) >= 16 andalso byte_size(Id) =< 64),
        ?assert(Budget > 0 andalso Budget =< 20000)
    end).

the_stanza_is_sent_when_it_is_asked_for_in_the_same_budget_test_() ->
    with(fun(Asker) ->
        _ = worker(?SUBJECT, [failure(<<"stanza-required">>), fun allow/1]),
        ?assertMatch({ok, #{verdict := allow}}, check(Asker, #{stanza_on_demand => true})),
        {First, Second} = {asked(), asked()},
        ?assertNot(maps:is_key(<<"stanza">>, First)),
        ?assertMatch(#{<<"stanza">> := <<"<iq/>">>}, Second),
        ?assertNotEqual(maps:get(<<"id">>, First), maps:get(<<"id">>, Second)),
        ?assert(maps:get(<<"budget_ms">>, Second) =< maps:get(<<"budget_ms">>, First))
    end).

a_question_is_sent_twice_at_most_test_() ->
    with(fun(Asker) ->
        _ = worker(?SUBJECT, [failure(<<"stanza-required">>)]),
        ?assertEqual({error, stanza_required}, check(Asker, #{stanza_on_demand => true})),
        _ = {asked(), asked()},
        not_asked()
    end).

what_is_too_large_is_left_out_test_() ->
    with(#{max_stanza_bytes => 4}, fun(Asker) ->
        _ = worker(?SUBJECT, [fun allow/1]),
        {ok, _} = check(Asker),
        Request = asked(),
        ?assertMatch(#{<<"stanza_omitted">> := true}, Request),
        ?assertNot(maps:is_key(<<"stanza">>, Request))
    end).

the_brokers_limit_is_kept_test_() ->
    with(#{max_stanza_bytes => 100000000}, fun(Asker) ->
        _ = worker(?SUBJECT, [fun allow/1]),
        Request = #{<<"hook">> => <<"send">>, <<"from">> => <<"a@b">>, <<"to">> => <<"c@d">>, <<"kind">> => <<"iq">>, <<"stanza">> => binary:copy(<<"x">>, 2000000)},
        {ok, _} = warder_ask:ask(Asker, stanza_check, Request, #{budget_ms => 20000}),
        ?assertMatch(#{<<"stanza_omitted">> := true}, asked())
    end).

no_responders_are_asked_once_more_test_() ->
    with(fun(Asker) ->
        ?assertEqual({error, no_responders}, check(Asker)),
        ?assertMatch(#{messages_out := 2}, warder_nats:stats(tn)),
        User = #{<<"user">> => <<"a@b">>},
        ?assertEqual({error, no_responders}, warder_ask:ask(Asker, user_removed, User, #{budget_ms => 20000})),
        ?assertMatch(#{messages_out := 3}, warder_nats:stats(tn))
    end).

an_event_that_is_told_again_keeps_its_id_test_() ->
    with(fun(Asker) ->
        _ = worker(<<"xmpp.policy.v1.user-removed">>, [fun(_) -> #{<<"forgotten">> => true, <<"seq">> => 9} end]),
        ?assertMatch({ok, #{forgotten := true, seq := 9}},
            warder_ask:ask(Asker, user_removed, #{<<"user">> => <<"a@b">>}, #{budget_ms => 20000, id => <<"the-event">>})),
        ?assertMatch(#{<<"id">> := <<"the-event">>}, asked())
    end).

failures_and_rubbish_are_what_they_are_test_() ->
    Rubbish = [
        fun(_) -> <<>> end, fun(_) -> <<"x">> end, fun(_) -> <<"{">> end, fun(_) -> #{<<"id">> => <<"other">>, <<"verdict">> => <<"allow">>} end,
        fun(_) -> #{<<"verdict">> => <<"perhaps">>} end, failure(<<"no-such-thing">>), fun(_) -> binary:copy(<<0>>, 900000) end
    ],
    Failures = [
        {<<"bad-request">>, bad_request}, {<<"too-large">>, too_large}, {<<"expired">>, expired}, {<<"overloaded">>, overloaded},
        {<<"source-unavailable">>, source_unavailable}, {<<"internal">>, internal}
    ],
    with(fun(Asker) ->
        _ = worker(?SUBJECT, Rubbish ++ [failure(Word) || {Word, _} <- Failures]),
        [?assertEqual({error, bad_reply}, check(Asker)) || _ <- Rubbish],
        [?assertEqual({error, Failure}, check(Asker)) || {_, Failure} <- Failures]
    end).

what_the_asker_cannot_use_is_a_bad_reply_test_() ->
    with(fun(Asker) ->
        _ = worker(?SUBJECT, [fun allow/1]),
        ?assertEqual({error, bad_reply}, check(Asker, #{verify => fun(_) -> false end})),
        ?assertEqual({error, bad_reply}, check(Asker, #{verify => fun(_) -> error(crash) end})),
        ?assertMatch({ok, _}, check(Asker, #{verify => fun(_) -> true end}))
    end).

silence_is_a_timeout_test_() ->
    with(fun(Asker) ->
        _ = worker(?SUBJECT, [fun(_) -> silence end]),
        ?assertEqual({error, timeout}, check(Asker, #{budget_ms => 60}))
    end).

silent(_) -> silence.

%% Of these budgets half has to pass; the other half is for a busy machine.
a_check_that_is_not_answered_is_asked_once_more_test_() ->
    with(fun(Asker) ->
        _ = worker(?SUBJECT, [fun silent/1, fun allow/1, fun silent/1]),
        ?assertMatch({ok, #{verdict := allow}}, check(Asker, #{budget_ms => 3000, stanza_on_demand => true})),
        {First, Second} = {asked(), asked()},
        ?assertNotEqual(maps:get(<<"id">>, First), maps:get(<<"id">>, Second)),
        ?assertNot(maps:is_key(<<"stanza">>, First)),
        ?assertMatch(#{<<"stanza">> := <<"<iq/>">>}, Second),
        ?assert(maps:get(<<"budget_ms">>, Second) =< 1500),
        ?assertEqual(#{hedged => 1, rescued => 1}, warder_ask:stats(Asker)),
        ?assertEqual({error, timeout}, check(Asker, #{budget_ms => 400})),
        _ = {asked(), asked()},
        not_asked(),
        ?assertEqual(#{hedged => 2, rescued => 1}, warder_ask:stats(Asker)),
        ?assertMatch(#{pending := 0}, warder_nats:stats(tn)),
        %% Late answers do not lie about in whoever has asked.
        ?assertEqual([], [Late || {Alias, _} = Late <- element(2, process_info(self(), messages)), is_reference(Alias)])
    end).

the_first_asking_may_be_answered_all_the_same_test_() ->
    with(fun(Asker) ->
        Self = self(),
        %% Answers the first when the second has come, and the second never.
        _ = spawn_link(fun() ->
            {ok, Ref} = warder_nats:subscribe(tn, ?SUBJECT, <<"warder">>),
            flush(),
            Self ! ready,
            [First, _Second] = [receive {warder_nats, Ref, {message, Message}} -> Message end || _ <- [1, 2]],
            answer_allow(First),
            receive after infinity -> ok end
        end),
        receive ready -> ok end,
        ?assertMatch({ok, #{verdict := allow}}, check(Asker, #{budget_ms => 3000})),
        ?assertEqual(#{hedged => 1, rescued => 0}, warder_ask:stats(Asker))
    end).

answer_allow(#{reply := Reply, payload := Payload}) ->
    {ok, Request} = warder_codec:decode(Payload),
    ok = warder_nats:publish(tn, Reply, warder_codec:encode(maps:merge(maps:with([<<"id">>, <<"v">>], Request), allow(Request)), messagepack)).

a_failure_of_one_asking_waits_for_the_other_test_() ->
    with(fun(Asker) ->
        _ = worker(?SUBJECT, [fun silent/1, failure(<<"overloaded">>), fun silent/1, failure(<<"bad-request">>)]),
        ?assertEqual({error, overloaded}, check(Asker, #{budget_ms => 1000})),
        Began = erlang:monotonic_time(millisecond),
        ?assertEqual({error, bad_request}, check(Asker, #{budget_ms => 4000})),
        ?assert(erlang:monotonic_time(millisecond) - Began < 4000),
        _ = [asked() || _ <- lists:seq(1, 4)],
        not_asked()
    end).

nothing_but_checks_is_asked_twice_for_its_silence_test_() ->
    with(fun(Asker) ->
        _ = worker(<<"xmpp.policy.v1.*">>, [fun silent/1]),
        Ask = fun(Operation, Request) -> warder_ask:ask(Asker, Operation, Request, #{budget_ms => 100}) end,
        ?assertEqual({error, timeout}, Ask(roster_refresh, #{<<"users">> => [<<"a@b">>]})),
        ?assertEqual({error, timeout}, Ask(roster_set, #{<<"user">> => <<"a@b">>})),
        ?assertEqual({error, timeout}, Ask(user_removed, #{<<"user">> => <<"a@b">>})),
        _ = {asked(), asked(), asked()},
        not_asked(),
        ?assertEqual(#{hedged => 0, rescued => 0}, warder_ask:stats(Asker))
    end).

what_is_asked_in_vain_is_bounded_test() ->
    Hedges = warder_hedges:new(),
    InVain = [warder_hedges:spend(Hedges) || _ <- lists:seq(1, 1000), ok =:= warder_hedges:earn(Hedges)],
    ?assert(length([true || true <- InVain]) =< 20 + 250 + 1),
    ?assert(length([true || true <- InVain]) >= 250),
    Other = warder_hedges:new(),
    Helpful = [warder_hedges:spend(Other) andalso warder_hedges:rescued(Other) || _ <- lists:seq(1, 1000)],
    ?assertEqual(1000, length([ok || ok <- Helpful])),
    ?assertEqual(#{hedged => 1000, rescued => 1000}, warder_hedges:stats(Other)).

what_has_no_form_denies_test_() ->
    with(fun(Asker) ->
        ?assertEqual({error, bad_request}, warder_ask:ask(Asker, stanza_check, #{<<"from">> => <<255>>}, #{budget_ms => 20000})),
        ?assertEqual({error, bad_request}, warder_ask:ask(Asker, stanza_check, #{<<"stanza">> => fun() -> error(crash) end}, #{budget_ms => 20000}))
    end).

nobody_is_asked_without_a_connection_test() ->
    ?assertEqual({error, disconnected}, check(warder_ask:new(#{client => no_such_client}))).

%% Changes.

normalise(Jid) ->
    [Node, Domain] = binary:split(Jid, <<"@">>),
    {Node, Domain, <<>>}.

change(Sequence, Map) ->
    Headers = [{<<"Nats-Stream">>, <<"WARDER_INVALIDATIONS">>}, {<<"Nats-Sequence">>, integer_to_binary(Sequence)}],
    ok = warder_nats:publish(tn, <<"xmpp.policy.v1.invalidated">>, Headers, warder_json:encode(Map#{<<"v">> => 1})).

changed(Ref) -> receive {warder_change, Ref, Change, Sequence} -> {Change, Sequence} after 20000 -> error(not_told) end.

changes_reach_the_near_cache_the_listeners_and_the_announcements_test_() ->
    with(fun(_) ->
        {ok, Seen} = warder_nats:subscribe(tn, <<"xmpp.policy.v1.ctl.seen">>),
        {ok, Changes} = warder_changes:start_link(tc, #{client => tn, server => <<"node">>, normalise => fun normalise/1}),
        {ok, Ref} = warder_changes:listen(tc),
        %% The broker of this test has no JetStream: everybody is told of the connection by that.
        change(1000, #{<<"tick">> => <<"w">>}),
        ?assertEqual({all, 1000}, changed(Ref)),
        Request = #{<<"hook">> => <<"send">>, <<"from">> => <<"a@b">>, <<"to">> => <<"c@d">>, <<"kind">> => <<"iq">>},
        Ticket = warder_changes:ask(tc, stanza_check, Request),
        ?assert(warder_changes:answered(tc, Ticket, #{seq => 1000, age_ms => 0, verdict => allow, scope => pair, ttl_ms => 60000})),
        change(1001, #{<<"user">> => <<"x@y">>}),
        ?assertEqual({{user, <<"x@y">>}, 1001}, changed(Ref)),
        ?assertMatch({ok, #{verdict := allow}}, warder_changes:recall(tc, stanza_check, Request)),
        ?assertEqual(1001, warder_changes:min_seq(tc)),
        change(1002, #{<<"user">> => <<"a@b">>}),
        ?assertEqual({{user, <<"a@b">>}, 1002}, changed(Ref)),
        ?assertEqual(miss, warder_changes:recall(tc, stanza_check, Request)),
        announced(Seen, 1002),
        change(1010, #{<<"tick">> => <<"w">>}),
        ?assertEqual({all, 1010}, changed(Ref)),
        announced(Seen, 1010),
        %% What is not from the stream is not looked at.
        ok = warder_nats:publish(tn, <<"xmpp.policy.v1.invalidated">>, <<"{}">>),
        change(1011, #{<<"tick">> => <<"w">>}),
        change(1012, #{<<"room">> => <<"r@c">>}),
        ?assertEqual({{room, <<"r@c">>}, 1012}, changed(Ref)),
        ?assertMatch(#{foreign := 1, gaps := 1}, warder_changes:stats(tc)),
        %% Started again, it has forgotten everything but what it had seen.
        unlink(Changes),
        exit(Changes, kill),
        {ok, Again} = restart(),
        ?assertEqual(1012, warder_changes:min_seq(tc)),
        ?assertEqual(miss, warder_changes:recall(tc, stanza_check, Request)),
        unlink(Again),
        exit(Again, shutdown)
    end).

restart() ->
    case warder_changes:start_link(tc, #{client => tn, server => <<"node">>, normalise => fun normalise/1}) of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, _}} -> restart()
    end.

announced(Ref, Sequence) ->
    receive
        {warder_nats, Ref, {message, #{payload := Payload}}} ->
            case jiffy:decode(Payload, [return_maps]) of
                #{<<"v">> := 1, <<"kind">> := <<"hook">>, <<"name">> := <<"node">>, <<"boot_id">> := _, <<"seen">> := Sequence} -> ok;
                _ -> announced(Ref, Sequence)
            end
    after 20000 -> error(not_announced)
    end.

a_supervisor_starts_them_in_order_and_again_after_a_fault_test_() ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        Broker = warder_test_broker:start(),
        Options = fun() -> #{servers => warder_test_broker:url(Broker)} end,
        {ok, Sup} = warder_sup:start_link({tn, Options}, [{tc, #{client => tn, server => <<"n">>, normalise => fun normalise/1}}]),
        Before = whereis(tc),
        Ref = monitor(process, Before),
        exit(whereis(tn), kill),
        receive {'DOWN', Ref, process, Before, _} -> ok end,
        {ok, Listening} = listen_again(),
        change_until_told(Listening, 20),
        exit(Sup, shutdown),
        receive {'EXIT', Sup, _} -> ok end,
        warder_test_broker:stop(Broker)
    end}.

listen_again() ->
    try
        warder_changes:listen(tc)
    catch
        exit:_ -> timer:sleep(10), listen_again()
    end.

%% The connection is made while this waits.
change_until_told(Ref, Sequence) ->
    case warder_nats:is_connected(tn) of
        true -> change(Sequence, #{<<"all">> => true});
        false -> timer:sleep(10)
    end,
    receive
        {warder_change, Ref, all, N} when is_integer(N) -> ok
    after 10 -> change_until_told(Ref, Sequence + 1)
    end.
