%%% The client against a real nats-server, with the faults that brokers have.
-module(warder_nats_tests).
-include_lib("eunit/include/eunit.hrl").

in_ms(Ms) -> erlang:monotonic_time(millisecond) + Ms.

with(Options, Test) ->
    with([], Options, Test).

with(Arguments, Options, Test) ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        Broker = warder_test_broker:start(Arguments),
        {ok, Client} = warder_nats:start_link(tn, maps:merge(#{servers => warder_test_broker:url(Broker), reconnect_max => 200}, Options)),
        try
            {ok, Status} = warder_nats:listen(tn),
            connected(Status),
            Test(Broker, Status)
        after
            unlink(Client),
            exit(Client, shutdown),
            warder_test_broker:stop(Broker)
        end
    end}.

connected(Status) ->
    receive {warder_nats, Status, {connected, _}} -> ok after 20000 -> error(not_connected) end.

%% The answer may be here before the writer has counted that it wrote.
nothing_unsent() ->
    case warder_nats:stats(tn) of
        #{unsent := 0} -> ok;
        _ -> timer:sleep(1), nothing_unsent()
    end.

disconnected(Status) ->
    receive {warder_nats, Status, {disconnected, Reason}} -> Reason after 20000 -> error(still_connected) end.

%% Sends back what it gets.
echo(Subject) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        {ok, Ref} = warder_nats:subscribe(tn, Subject, <<"q">>),
        %% Behind this the broker knows of the subscription.
        {error, no_responders} = warder_nats:request(tn, <<"nobody">>, <<>>, in_ms(20000)),
        Self ! {self(), ready},
        echo_loop(Ref)
    end),
    receive {Pid, ready} -> Pid end.

echo_loop(Ref) ->
    receive
        {warder_nats, Ref, {message, #{reply := Reply, payload := Payload}}} ->
            _ = warder_nats:publish(tn, Reply, Payload),
            echo_loop(Ref)
    end.

a_request_is_answered_test_() ->
    with(#{}, fun(_, _) ->
        _ = echo(<<"e">>),
        ?assertMatch({ok, #{payload := <<"hi">>}}, warder_nats:request(tn, <<"e">>, <<"hi">>, in_ms(20000)))
    end).

a_thousand_ask_at_once_and_each_gets_his_own_test_() ->
    with(#{}, fun(_, _) ->
        _ = echo(<<"e">>),
        Ask = fun(N) ->
            Payload = integer_to_binary(N),
            [{ok, #{payload := Payload}} = warder_nats:request(tn, <<"e">>, Payload, in_ms(30000)) || _ <- lists:seq(1, 5)]
        end,
        Pids = [spawn_monitor(fun() -> Ask(N) end) || N <- lists:seq(1, 1000)],
        [receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Ref} <- Pids],
        ?assertMatch(#{pending := 0}, warder_nats:stats(tn)),
        nothing_unsent()
    end).

nobody_there_is_told_at_once_test_() ->
    with(#{}, fun(_, _) ->
        ?assertEqual({error, no_responders}, warder_nats:request(tn, <<"nobody">>, <<>>, in_ms(30000)))
    end).

a_late_reply_is_dropped_test_() ->
    with(#{}, fun(_, _) ->
        {ok, Ref} = warder_nats:subscribe(tn, <<"late">>),
        ?assertEqual({error, timeout}, warder_nats:request(tn, <<"late">>, <<"a">>, in_ms(100))),
        #{reply := Reply} = receive {warder_nats, Ref, {message, M}} -> M after 20000 -> error(no_message) end,
        ok = warder_nats:publish(tn, Reply, <<"too late">>),
        {error, no_responders} = warder_nats:request(tn, <<"nobody">>, <<>>, in_ms(20000)),
        ?assertMatch(#{late := 1, pending := 0}, warder_nats:stats(tn)),
        receive {R, {ok, _}} when is_reference(R) -> error(late) after 0 -> ok end
    end).

what_the_broker_would_not_take_is_not_sent_test_() ->
    with(#{}, fun(_, _) ->
        Most = warder_nats:max_payload(tn),
        ?assertEqual({error, too_large}, warder_nats:request(tn, <<"e">>, binary:copy(<<0>>, Most + 1), in_ms(20000))),
        ?assertEqual({error, too_large}, warder_nats:publish(tn, <<"e">>, binary:copy(<<0>>, Most + 1))),
        ?assert(warder_nats:is_connected(tn))
    end).

what_is_pending_fails_when_the_broker_dies_and_it_comes_back_test_() ->
    with(#{}, fun(#{number := Number} = Broker, Status) ->
        {ok, Ref} = warder_nats:subscribe(tn, <<"hole">>),
        Self = self(),
        Pids = [spawn_link(fun() -> Self ! {self(), warder_nats:request(tn, <<"hole">>, <<>>, in_ms(60000))} end) || _ <- lists:seq(1, 20)],
        [receive {warder_nats, Ref, {message, _}} -> ok end || _ <- Pids],
        warder_test_broker:kill(Broker),
        [receive {Pid, Answer} -> ?assertEqual({error, disconnected}, Answer) end || Pid <- Pids],
        _ = disconnected(Status),
        ?assertEqual({error, disconnected}, warder_nats:request(tn, <<"hole">>, <<>>, in_ms(60000))),
        Again = warder_test_broker:start([], Number),
        connected(Status),
        ok = warder_nats:publish(tn, <<"hole">>, <<"after">>),
        receive {warder_nats, Ref, {message, #{payload := <<"after">>}}} -> ok after 20000 -> error(subscription_lost) end,
        warder_test_broker:stop(Again)
    end).

%% The socket's buffers are filled many times over, so that the writer stands in send; nobody else does.
a_broker_that_hangs_holds_nobody_longer_than_his_budget_test_() ->
    with(#{max_unsent => 4000000, ping_interval => 60000}, fun(Broker, _) ->
        _ = warder_test_broker:signal(Broker, "STOP"),
        Payload = binary:copy(<<"x">>, 100000),
        Ask = fun() ->
            Begin = erlang:monotonic_time(millisecond),
            {error, Failure} = warder_nats:request(tn, <<"e">>, Payload, Begin + 300),
            exit({done, Failure, erlang:monotonic_time(millisecond) - Begin})
        end,
        Results = lists:append([
            begin
                Pids = [spawn_monitor(Ask) || _ <- lists:seq(1, 100)],
                [receive {'DOWN', Ref, process, Pid, {done, Failure, Ms}} -> {Failure, Ms} end || {Pid, Ref} <- Pids]
            end
         || _ <- lists:seq(1, 3)
        ]),
        ?assert(lists:keymember(timeout, 1, Results)),
        ?assert(lists:keymember(disconnected, 1, Results)),
        %% Against hanging; on a busy machine a process waits for its turn.
        ?assert(lists:all(fun({_, Ms}) -> Ms < 5000 end, Results)),
        %% What sat in the queue past its budget is not sent when the broker wakes.
        #{unsent := Unsent} = warder_nats:stats(tn),
        ?assert(Unsent > 1000000),
        {ok, Ref2} = warder_nats:subscribe(tn, <<"e">>),
        _ = warder_test_broker:signal(Broker, "CONT"),
        {error, no_responders} = warder_nats:request(tn, <<"nobody">>, <<>>, in_ms(30000)),
        nothing_unsent(),
        receive {warder_nats, Ref2, _} -> error(sent_after_its_budget) after 0 -> ok end
    end).

a_broker_that_hangs_is_given_up_and_its_pending_fail_test_() ->
    with(#{ping_interval => 200, ping_max => 2}, fun(Broker, Status) ->
        _ = warder_test_broker:signal(Broker, "STOP"),
        ?assertEqual({error, disconnected}, warder_nats:request(tn, <<"e">>, <<>>, in_ms(60000))),
        ?assertEqual(<<"no answer to 2 pings">>, disconnected(Status)),
        _ = warder_test_broker:signal(Broker, "CONT"),
        connected(Status)
    end).

a_reader_that_is_killed_fails_what_is_pending_test_() ->
    with(#{}, fun(_, Status) ->
        {ok, Ref} = warder_nats:subscribe(tn, <<"hole">>),
        Self = self(),
        Pid = spawn_link(fun() -> Self ! {self(), warder_nats:request(tn, <<"hole">>, <<>>, in_ms(60000))} end),
        receive {warder_nats, Ref, {message, _}} -> ok end,
        #{pid := Link} = warder_nats:current(persistent_term:get({warder_nats, tn})),
        exit(Link, kill),
        receive {Pid, Answer} -> ?assertEqual({error, disconnected}, Answer) end,
        _ = disconnected(Status),
        connected(Status)
    end).

user_and_password_test_() ->
    with(["--user", "u", "--pass", "p"], #{user => <<"u">>, password => <<"p">>}, fun(_, _) ->
        ?assertEqual({error, no_responders}, warder_nats:request(tn, <<"x">>, <<>>, in_ms(20000)))
    end).

token_test_() ->
    with(["--auth", "secret"], #{token => <<"secret">>}, fun(_, _) -> ?assert(warder_nats:is_connected(tn)) end).

a_wrong_password_connects_to_nobody_and_stands_in_no_state_test_() ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        Broker = warder_test_broker:start(["--auth", "right"]),
        {ok, Client} = warder_nats:start_link(tn, #{servers => warder_test_broker:url(Broker), token => <<"wr0ng-secret">>}),
        ?assertEqual({error, disconnected}, warder_nats:request(tn, <<"x">>, <<>>, in_ms(20000))),
        ?assertEqual(nomatch, string:find(io_lib:format("~p", [sys:get_state(Client)]), "wr0ng-secret")),
        ?assertNot(warder_nats:is_connected(tn)),
        unlink(Client),
        exit(Client, shutdown),
        warder_test_broker:stop(Broker)
    end}.

nobody_is_asked_without_a_client_test() ->
    ?assertEqual({error, disconnected}, warder_nats:request(no_such_client, <<"x">>, <<>>, in_ms(1000))).

options_that_make_no_sense_are_refused_test() ->
    process_flag(trap_exit, true),
    [
        ?assertMatch({error, {bad_option, _}}, warder_nats:start_link(tn, Options))
     || Options <- [#{servers => <<>>}, #{inbox => <<"a.b">>}, #{ping_max => 0}, #{tls => #{cafile => "x"}}, #{nope => 1}]
    ].

tls_test_() ->
    {timeout, 60, fun() ->
        process_flag(trap_exit, true),
        Folder = string:trim(os:cmd("mktemp -d")),
        Shell = fun(Format, Arguments) -> os:cmd("cd " ++ Folder ++ " && " ++ io_lib:format(Format, Arguments)) end,
        _ = Shell("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=ca", []),
        Make = fun(Name, Names) ->
            _ = Shell("openssl req -newkey rsa:2048 -nodes -keyout ~s.key -out ~s.csr -subj /O=~s", [Name, Name, Name]),
            ok = file:write_file(filename:join(Folder, Name ++ ".ext"), "subjectAltName = " ++ Names ++ "\n"),
            Shell("openssl x509 -req -in ~s.csr -out ~s.pem -extfile ~s.ext -CA ca.pem -CAkey ca.key -CAcreateserial -days 2",
                  [Name, Name, Name])
        end,
        _ = Make("good", "DNS:localhost, IP:127.0.0.1"),
        _ = Make("other", "DNS:elsewhere.example, IP:127.0.0.9"),
        In = fun(File) -> filename:join(Folder, File) end,
        Try = fun(Certificate, Url, Tls, WaitMs) ->
            Broker = warder_test_broker:start(["--tls", "--tlscert", In(Certificate ++ ".pem"), "--tlskey", In(Certificate ++ ".key")]),
            #{number := Number} = Broker,
            {ok, Client} = warder_nats:start_link(tn, #{servers => io_lib:format(Url, [Number]), tls => Tls}),
            {ok, Status} = warder_nats:listen(tn),
            Connected = receive {warder_nats, Status, {connected, _}} -> true after WaitMs -> false end,
            Answer = warder_nats:request(tn, <<"nobody">>, <<>>, in_ms(20000)),
            unlink(Client),
            exit(Client, shutdown),
            receive {'EXIT', Client, _} -> ok after 0 -> ok end,
            ok = warder_test_broker:stop(Broker),
            _ = wait_gone(Client),
            {Connected, Answer}
        end,
        Trusts = #{ca_file => In("ca.pem")},
        ?assertEqual({true, {error, no_responders}}, Try("good", "tls://localhost:~b", Trusts, 20000)),
        ?assertEqual({true, {error, no_responders}}, Try("good", "tls://127.0.0.1:~b", Trusts, 20000)),
        ?assertEqual({false, {error, disconnected}}, Try("other", "tls://localhost:~b", Trusts, 500)),
        ?assertEqual({false, {error, disconnected}}, Try("good", "tls://localhost:~b", #{}, 500)),
        ?assertEqual({false, {error, disconnected}}, Try("other", "tls://127.0.0.1:~b", Trusts, 500)),
        ?assertEqual({true, {error, no_responders}}, Try("other", "nats://127.0.0.1:~b", #{ca_file => In("ca.pem"), hostname => "elsewhere.example"}, 20000)),
        file:del_dir_r(Folder)
    end}.

wait_gone(Pid) ->
    Ref = monitor(process, Pid),
    receive {'DOWN', Ref, process, Pid, _} -> ok end.
