%%% Reports through a real broker to a worker that acknowledges as the test says.
-module(warder_reporter_tests).
-include_lib("eunit/include/eunit.hrl").

-define(SUBJECT, <<"xmpp.policy.v1.ctl.hook-stats">>).
-define(NAME, reporter).

%% `Counts' and the target are what the test has put.
with(Test) ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        ok = forget(),
        Broker = warder_test_broker:start(),
        ok = persistent_term:put(?MODULE, #{}),
        Client = connect(tn, Broker),
        Worker = connect(worker, Broker),
        {ok, _} = warder_nats:subscribe(worker, ?SUBJECT, <<"warder">>),
        ok = flush(worker),
        ok = target(tn),
        Reporter = start(),
        try
            Test(Broker)
        after
            [stop(Pid) || Pid <- [Reporter, Client, Worker, whereis(?NAME), whereis(other)], is_pid(Pid)],
            warder_test_broker:stop(Broker)
        end
    end}.

%% What came too late for the test before.
forget() ->
    receive _ -> forget() after 0 -> ok end.

start() ->
    {ok, Reporter} = warder_reporter:start_link(?NAME, #{
        kind => <<"test">>,
        version => <<"0.1.0">>,
        target => fun() -> persistent_term:get({?MODULE, target}) end,
        counts => fun() -> persistent_term:get(?MODULE) end,
        gauges => fun() -> #{<<"pending">> => 7} end
    }),
    Reporter.

stop(Pid) ->
    Monitor = monitor(process, Pid),
    exit(Pid, shutdown),
    receive {'DOWN', Monitor, process, _, _} -> ok end.

connect(Name, Broker) ->
    {ok, Client} = warder_nats:start_link(Name, #{servers => warder_test_broker:url(Broker), reconnect_max => 100}),
    ok = await_connection(Name),
    Client.

await_connection(Name) ->
    {ok, Status} = warder_nats:listen(Name),
    receive {warder_nats, Status, {connected, _}} -> warder_nats:unlisten(Name, Status) end.

flush(Name) ->
    {error, no_responders} = warder_nats:request(Name, <<"nobody">>, <<>>, erlang:monotonic_time(millisecond) + 20000),
    ok.

target(Client) ->
    Target = #{client => Client, prefix => <<"xmpp.policy.v1">>, name => <<"node one">>, encoding => messagepack},
    persistent_term:put({?MODULE, target}, Target).

counts(Allowed) ->
    persistent_term:put(?MODULE, #{
        <<"operations">> => #{
            <<"stanza-check">> => #{<<"verdicts">> => #{<<"allow">> => Allowed, <<"deny">> => 0}, <<"failures">> => #{<<"timeout">> => 0}},
            <<"join-check">> => #{<<"verdicts">> => #{<<"allow">> => 0}}
        },
        <<"near_cache">> => #{<<"hits">> => Allowed}
    }).

allowed(#{<<"operations">> := Operations}) ->
    case Operations of
        #{<<"stanza-check">> := #{<<"verdicts">> := #{<<"allow">> := Allowed}}} -> Allowed;
        None when map_size(None) =:= 0 -> 0
    end.

%% The next report, and where it wants its acknowledgement.
report() ->
    receive
        {warder_nats, _, {message, #{subject := ?SUBJECT, reply := Reply, payload := Payload}}} ->
            {ok, Report} = warder_codec:decode(Payload),
            {Report, Reply}
    after 30000 -> error(no_report)
    end.

reply(To, Payload) -> ok = warder_nats:publish(worker, To, Payload).

acknowledge({#{<<"number">> := Number}, Reply}) ->
    reply(Reply, warder_codec:encode(#{v => 1, number => Number}, json)).

%% What the reporter has done with everything that it was sent before.
settled() ->
    _ = sys:get_state(?NAME),
    ok.

%% As if the time for the next had come.
hurry() ->
    _ = sys:replace_state(?NAME, fun(State) ->
        Timer = make_ref(),
        ?NAME ! {timeout, Timer, tell},
        setelement(tuple_size(State), State, Timer)
    end),
    ok.

says_who_it_is_and_what_has_come_since_the_last_acknowledged_report_test_() ->
    with(fun(_) ->
        ok = counts(3),
        {First, _} = Got = report(),
        #{<<"boot_id">> := BootId, <<"gauges">> := #{<<"connected_s">> := Seconds}} = First,
        ?assert(byte_size(BootId) >= 16 andalso Seconds > 0.8 andalso Seconds < 30),
        ?assertMatch(
            #{
                <<"v">> := 1, <<"name">> := <<"node one">>, <<"kind">> := <<"test">>, <<"version">> := <<"0.1.0">>,
                <<"number">> := 1, <<"gauges">> := #{<<"pending">> := 7}
            },
            First
        ),
        %% What is nothing is not told.
        ?assertEqual(#{<<"stanza-check">> => #{<<"verdicts">> => #{<<"allow">> => 3}}}, maps:get(<<"operations">>, First)),
        ?assertEqual(#{<<"hits">> => 3}, maps:get(<<"near_cache">>, First)),
        ok = counts(10),
        ok = acknowledge(Got),
        ok = settled(),
        ok = hurry(),
        {Second, _} = report(),
        ?assertMatch(#{<<"number">> := 2, <<"boot_id">> := BootId}, Second),
        ?assertEqual(7, allowed(Second))
    end).

repeats_a_report_until_it_is_acknowledged_test_() ->
    with(fun(_) ->
        ok = counts(1),
        {First, _} = Got = report(),
        Last = lists:foldl(
            fun(Answer, {Report, Reply}) ->
                ok = counts(2),
                ok = reply(Reply, Answer),
                ok = settled(),
                ok = hurry(),
                Next = {Again, _} = report(),
                ?assertEqual(Report, Again),
                Next
            end,
            Got,
            [
                <<>>, <<"[1]">>, <<16#C1>>,
                warder_codec:encode(#{v => 2, number => 1}, json),
                warder_codec:encode(#{v => 1, number => 0}, messagepack),
                warder_codec:encode(#{v => 1, number => 2}, messagepack),
                warder_codec:encode(#{v => 1, number => <<"1">>}, json)
            ]
        ),
        ?assertEqual(1, allowed(First)),
        ok = acknowledge(Last),
        ok = settled(),
        ok = hurry(),
        {Second, _} = report(),
        ?assertEqual({2, 1}, {maps:get(<<"number">>, Second), allowed(Second)})
    end).

reports_every_five_seconds_or_so_test_() ->
    with(fun(_) ->
        Waits = [
            begin
                ok = acknowledge(report()),
                State = sys:get_state(?NAME),
                Wait = erlang:read_timer(element(tuple_size(State), State)),
                ok = hurry(),
                Wait
            end
         || _ <- lists:seq(1, 10)
        ],
        ?assert(lists:all(fun(Wait) -> Wait > 4000 andalso Wait =< 5500 end, Waits)),
        ?assert(length(lists:usort(Waits)) > 3)
    end).

is_silent_without_a_connection_and_repeats_by_the_next_test_() ->
    with(fun(Broker) ->
        ok = counts(1),
        {First, _} = report(),
        _ = warder_test_broker:signal(Broker, "KILL"),
        %% Disconnected, and no report under way.
        ok = await_silence(),
        ok = counts(2),
        #{number := Number} = Broker,
        Again = warder_test_broker:start([], Number),
        try
            {Repeated, _} = Got = report(),
            ?assertEqual(First, Repeated),
            ok = acknowledge(Got),
            ok = settled(),
            ok = hurry(),
            {Second, _} = report(),
            ?assertEqual({2, 1}, {maps:get(<<"number">>, Second), allowed(Second)})
        after
            warder_test_broker:stop(Again)
        end
    end).

await_silence() ->
    case warder_nats:is_connected(tn) of
        true -> await_silence();
        false -> settled()
    end.

goes_on_by_another_connection_and_when_its_connection_was_started_again_test_() ->
    with(fun(Broker) ->
        ok = counts(1),
        {First, _} = Got = report(),
        ok = acknowledge(Got),
        Other = connect(other, Broker),
        ok = target(other),
        ok = warder_reporter:settle(?NAME),
        ok = counts(3),
        {Second, _} = Acknowledged = report(),
        ?assertEqual(maps:get(<<"boot_id">>, First), maps:get(<<"boot_id">>, Second)),
        ?assertEqual({2, 2}, {maps:get(<<"number">>, Second), allowed(Second)}),
        ok = acknowledge(Acknowledged),
        ok = settled(),
        stop(Other),
        ok = counts(4),
        _ = connect(other, Broker),
        {Third, _} = report(),
        ?assertEqual({3, 1}, {maps:get(<<"number">>, Third), allowed(Third)})
    end).

waits_for_who_has_no_connection_yet_and_lets_go_of_who_has_none_any_more_test_() ->
    with(fun(_) ->
        ok = persistent_term:put({?MODULE, target}, none),
        ok = warder_reporter:settle(?NAME),
        ok = settled(),
        ok = hurry_without_connection(),
        ok = counts(4),
        ok = target(tn),
        ok = warder_reporter:settle(?NAME),
        {First, _} = report(),
        ?assertEqual({1, 4}, {maps:get(<<"number">>, First), allowed(First)})
    end).

%% A timer that was set before is none any more.
hurry_without_connection() ->
    ?NAME ! {timeout, make_ref(), tell},
    settled().

is_another_one_after_a_fault_and_counts_nothing_twice_test_() ->
    with(fun(_) ->
        ok = counts(5),
        {First, _} = Got = report(),
        ok = acknowledge(Got),
        ok = settled(),
        stop(whereis(?NAME)),
        _ = start(),
        ok = counts(6),
        {Second, _} = report(),
        ?assertNotEqual(maps:get(<<"boot_id">>, First), maps:get(<<"boot_id">>, Second)),
        ?assertEqual({1, 1}, {maps:get(<<"number">>, Second), allowed(Second)})
    end).

asks_no_more_on_a_connection_that_may_not_tell_test_() ->
    with(fun(_) ->
        ok = counts(1),
        ok = acknowledge(report()),
        ok = refuse(<<"Permissions Violation for Publish to \"another\"">>),
        ok = hurry(),
        ok = acknowledge(report()),
        ok = refuse(<<"Permissions Violation for Publish to \"", ?SUBJECT/binary, "\"">>),
        ok = hurry(),
        ok = settled(),
        ok = flush(tn),
        receive {warder_nats, _, {message, #{subject := ?SUBJECT}}} -> error(told) after 0 -> ok end
    end).

%% As the client tells its listeners.
refuse(Text) ->
    {connection, _, Listening, _} = lists:keyfind(connection, 1, [Part || Part <- tuple_to_list(sys:get_state(?NAME)), is_tuple(Part)]),
    ?NAME ! {warder_nats, Listening, {refused, Text}},
    settled().

the_broker_s_own_word_reaches_who_listens_test_() ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        Folder = string:trim(os:cmd("mktemp -d")),
        File = filename:join(Folder, "nats.conf"),
        ok = file:write_file(File, "authorization { users: [{ user: u, password: p, permissions: { publish: { deny: \"x.>\" } } }] }"),
        Broker = warder_test_broker:start(["-c", File]),
        Options = #{servers => warder_test_broker:url(Broker), user => <<"u">>, password => <<"p">>},
        {ok, Client} = warder_nats:start_link(tn, Options),
        try
            {ok, Status} = warder_nats:listen(tn),
            receive {warder_nats, Status, {connected, _}} -> ok end,
            ok = warder_nats:publish(tn, <<"x.y">>, <<>>),
            receive
                {warder_nats, Status, {refused, Text}} -> ?assertNotEqual(nomatch, binary:match(Text, <<"x.y">>))
            after 20000 -> error(not_told)
            end
        after
            stop(Client),
            warder_test_broker:stop(Broker),
            file:del_dir_r(Folder)
        end
    end}.
