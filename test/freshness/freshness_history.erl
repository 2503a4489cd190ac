%%% Writes the history of an Erlang asker to stdout: one JSON list a line, as asker.lua says. Many processes tell it, and
%%% wait for nothing; what they told is written at most 50 ms later.
-module(freshness_history).

-export([start_link/0, write/1, micros/0]).

-define(NAME, ?MODULE).
-define(FLUSH_MS, 50).

-spec start_link() -> pid().
start_link() ->
    Ready = make_ref(),
    Self = self(),
    Pid = spawn_link(fun() ->
        true = register(?NAME, self()),
        Self ! Ready,
        %% The file that stdout is; what Erlang writes there by itself would come between.
        loop(open_port({fd, 0, 1}, [out, binary]))
    end),
    receive
        Ready -> Pid
    end.

%% @doc Numbers, texts and `{raw, json}'.
-spec write([binary() | number() | boolean() | {raw, iodata()}]) -> ok.
write(Parts) ->
    ?NAME ! {line, [$[, lists:join($,, [part(Part) || Part <- Parts]), "]\n"]},
    ok.

part({raw, Json}) -> Json;
part(Part) -> warder_json:encode(Part).

%% @doc CLOCK_MONOTONIC, the same for all processes of one machine.
-spec micros() -> integer().
micros() ->
    os:perf_counter(microsecond).

loop(Port) ->
    receive
        {line, Line} ->
            timer:sleep(?FLUSH_MS),
            true = port_command(Port, [Line | told()]),
            loop(Port)
    end.

told() ->
    receive
        {line, Line} -> [Line | told()]
    after 0 -> []
    end.
