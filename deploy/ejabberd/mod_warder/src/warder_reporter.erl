%%% Tells the workers on `<prefix>.ctl.hook-stats' every few seconds what this node has counted, so that each count reaches
%%% one of them, once: a report stays as it is, under its number, until it is acknowledged, and what is counted meanwhile goes
%%% into the next. Knows nothing of what is counted.
-module(warder_reporter).
-behaviour(gen_server).

-export([start_link/2, settle/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([options/0, target/0, counts/0]).

-type target() :: #{client := atom(), prefix := binary(), name := binary(), encoding := warder_codec:encoding()}.
%% By the names that they have in a report. They only grow.
-type counts() :: #{binary() => non_neg_integer() | counts()}.
%% `target': by which connection this node reports, and under which name. `gauges' are as of now.
-type options() :: #{
    kind := binary(),
    version := binary(),
    target := fun(() -> target() | none),
    counts := fun(() -> counts()),
    gauges := fun(() -> #{binary() => number()})
}.

-define(FIRST_MS, 1000).
-define(INTERVAL_MS, 5000).
-define(TIMEOUT_MS, 2000).
%% Before looking again for a connection that has ended.
-define(PAUSE_MS, 1000).

-record(connection, {client :: atom(), listening :: reference(), monitor :: reference()}).
-record(state, {
    options :: options(),
    boot_id :: binary(),
    number = 0 :: non_neg_integer(),
    %% What is in reports up to this number.
    taken :: counts(),
    %% The one that is not acknowledged.
    report = none :: none | binary(),
    connection = none :: none | #connection{},
    %% Milliseconds; none while there is no connection.
    connected_at = none :: none | integer(),
    is_refused = false :: boolean(),
    timer = none :: none | reference()
}).

%% @doc What was counted before it is nobody's: what it counts is what comes then. Started again after a fault of its own it
%% is another one to the workers, and what it had not reported is lost and not counted twice.
-spec start_link(Name :: atom(), options()) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    gen_server:start_link({local, Name}, ?MODULE, Options, []).

%% @doc The target may be another one now.
-spec settle(Name :: atom()) -> ok.
settle(Name) ->
    gen_server:cast(Name, settle).

%% @private
init(#{counts := Counts} = Options) ->
    BootId = string:lowercase(binary:encode_hex(crypto:strong_rand_bytes(12))),
    {ok, settled(#state{options = Options, boot_id = BootId, taken = Counts()})}.

%% @private
handle_call(_Request, _From, State) ->
    {noreply, State}.

%% @private
handle_cast(settle, State) ->
    {noreply, settled(State)}.

%% @private
handle_info({timeout, Timer, tell}, #state{timer = Timer} = State) ->
    {noreply, wait(?INTERVAL_MS, tell(State))};
handle_info({warder_nats, Ref, News}, #state{connection = #connection{listening = Ref}} = State) ->
    {noreply, heard(News, State)};
handle_info({'DOWN', Monitor, process, _, _}, #state{connection = #connection{monitor = Monitor}} = State) ->
    {noreply, settle_later(disconnected(State#state{connection = none}))};
handle_info(settle, State) ->
    {noreply, settled(State)};
handle_info(_Other, State) ->
    {noreply, State}.

heard({connected, _}, State) ->
    wait(?FIRST_MS, State#state{connected_at = now_ms(), is_refused = false});
heard({disconnected, _}, State) ->
    disconnected(State);
heard({refused, Text}, #state{options = #{target := Target}} = State) ->
    %% Whoever may not say it is not told so every few seconds.
    case Target() of
        none -> State;
        Known -> State#state{is_refused = State#state.is_refused orelse binary:match(Text, subject(Known)) =/= nomatch}
    end.

disconnected(State) ->
    State#state{connected_at = none, timer = none}.

settled(#state{options = #{target := Target}, connection = Connection} = State) ->
    case {Target(), Connection} of
        {#{client := Client}, #connection{client = Client}} -> State;
        {none, _} -> leave(State);
        {#{client := Client}, _} -> listen(Client, leave(State))
    end.

leave(#state{connection = none} = State) ->
    State;
leave(#state{connection = #connection{client = Client, listening = Ref, monitor = Monitor}} = State) ->
    demonitor(Monitor, [flush]),
    try
        warder_nats:unlisten(Client, Ref)
    catch
        exit:_ -> ok
    end,
    disconnected(State#state{connection = none}).

listen(Client, State) ->
    try
        {ok, Ref} = warder_nats:listen(Client),
        State#state{connection = #connection{client = Client, listening = Ref, monitor = monitor(process, Client)}}
    catch
        exit:_ -> settle_later(State)
    end.

settle_later(State) ->
    _ = erlang:send_after(?PAUSE_MS, self(), settle),
    State.

%% Up to a tenth more or less: not all hooks of a cluster at once after their broker was away.
wait(Ms, State) ->
    State#state{timer = erlang:start_timer(Ms * 9 div 10 + rand:uniform(Ms div 5), self(), tell)}.

tell(#state{is_refused = true} = State) ->
    State;
tell(#state{options = #{target := Target}, connection = #connection{client = Client}} = State) ->
    case Target() of
        #{client := Client} = Known -> tell(Known, reported(Known, State));
        _ -> settled(State)
    end.

tell(#{client := Client} = Target, #state{report = Report, number = Number} = State) ->
    case warder_nats:request(Client, subject(Target), Report, now_ms() + ?TIMEOUT_MS) of
        {ok, #{payload := Payload}} ->
            case warder_codec:decode(Payload) of
                {ok, #{<<"v">> := 1, <<"number">> := Number}} -> State#state{report = none};
                _ -> State
            end;
        {error, _} ->
            State
    end.

subject(#{prefix := Prefix}) ->
    <<Prefix/binary, ".ctl.hook-stats">>.

reported(#{name := Name, encoding := Encoding}, #state{report = none, taken = Taken, number = Last} = State) ->
    #{kind := Kind, version := Version, counts := Count, gauges := Gauges} = State#state.options,
    Counts = Count(),
    Number = Last + 1,
    Sender = #{
        <<"v">> => 1,
        <<"boot_id">> => State#state.boot_id,
        <<"name">> => Name,
        <<"kind">> => Kind,
        <<"version">> => Version,
        <<"number">> => Number,
        <<"operations">> => #{},
        <<"gauges">> => (Gauges())#{<<"connected_s">> => (now_ms() - State#state.connected_at) / 1000}
    },
    Report = warder_codec:encode(maps:merge(Sender, growth(Counts, Taken)), Encoding),
    State#state{number = Number, report = Report, taken = taken(Counts, Taken)};
reported(_Target, State) ->
    State.

growth(Counts, Taken) ->
    maps:filtermap(
        fun
            (Name, Count) when is_map(Count) ->
                Grown = growth(Count, maps:get(Name, Taken, #{})),
                map_size(Grown) > 0 andalso {true, Grown};
            (Name, Count) ->
                Grown = Count - maps:get(Name, Taken, 0),
                Grown > 0 andalso {true, Grown}
        end,
        Counts
    ).

taken(Counts, Taken) ->
    maps:merge_with(
        fun
            (_, Before, Now) when is_map(Now) -> taken(Now, Before);
            (_, Before, Now) -> max(Before, Now)
        end,
        Taken,
        Counts
    ).

now_ms() ->
    erlang:monotonic_time(millisecond).
