#!/usr/bin/env escript
%%! -noinput
%% Requests a second through warder_nats, for so many senders at once: escript nats.escript EBIN URL SUBJECT SECONDS
%% Each sender asks, waits for its answer and asks again. Prints one JSON object for each number of senders.

-mode(compile).

-define(SENDERS, [1, 100, 1000]).
-define(PAYLOAD_BYTES, 500).
-define(BUDGET_MS, 5000).

main([Ebin, Url, Subject, Seconds]) ->
    true = code:add_patha(Ebin),
    {ok, _} = warder_nats:start_link(bench, #{servers => Url, inbox => <<"bench">>}),
    ok = await_connection(),
    Bytes = list_to_binary(Subject),
    DurationMs = list_to_integer(Seconds) * 1000,
    _ = run(Bytes, 50, 500),
    [print(Senders, run(Bytes, Senders, DurationMs)) || Senders <- ?SENDERS],
    ok.

await_connection() ->
    {ok, Ref} = warder_nats:listen(bench),
    receive
        {warder_nats, Ref, {connected, _}} -> ok
    after 10000 -> error(no_connection)
    end.

run(Subject, Senders, DurationMs) ->
    Payload = crypto:strong_rand_bytes(?PAYLOAD_BYTES),
    {_, CpuBefore} = {ignored, cpu_us()},
    Started = now_us(),
    Until = Started + DurationMs * 1000,
    Pids = [spawn_monitor(fun() -> exit({done, ask(Subject, Payload, Until, [])}) end) || _ <- lists:seq(1, Senders)],
    Latencies = lists:append([receive {'DOWN', Ref, process, Pid, {done, Us}} -> Us end || {Pid, Ref} <- Pids]),
    {lists:sort(Latencies), now_us() - Started, cpu_us() - CpuBefore}.

ask(Subject, Payload, Until, Done) ->
    Begin = now_us(),
    {ok, #{payload := Payload}} = warder_nats:request(bench, Subject, Payload, Begin div 1000 + ?BUDGET_MS),
    End = now_us(),
    case End < Until of
        true -> ask(Subject, Payload, Until, [End - Begin | Done]);
        false -> [End - Begin | Done]
    end.

print(Senders, {Sorted, ElapsedUs, CpuUs}) ->
    Count = length(Sorted),
    At = fun(Share) -> lists:nth(max(1, round(Count * Share)), Sorted) end,
    io:format("{\"senders\":~b,\"requestsPerSecond\":~b,\"p50Us\":~b,\"p99Us\":~b,\"cpuUs\":~.1f}~n",
              [Senders, round(Count * 1000000 / ElapsedUs), At(0.5), At(0.99), CpuUs / Count]).

now_us() -> erlang:monotonic_time(microsecond).

%% Of the whole node, as the system counts it.
cpu_us() ->
    {ok, Stat} = file:read_file("/proc/self/stat"),
    [_, After] = binary:split(Stat, <<") ">>),
    Fields = binary:split(After, <<" ">>, [global]),
    (binary_to_integer(lists:nth(12, Fields)) + binary_to_integer(lists:nth(13, Fields))) * 10000.
