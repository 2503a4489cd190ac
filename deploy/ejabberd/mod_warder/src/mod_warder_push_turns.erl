%%% How many batches of rosters are asked for at once by all who refresh on a host, in the order in which they came:
%%% each of them waits with a few batches only, so that one user does not wait behind ten thousand. Knows no rosters.
-module(mod_warder_push_turns).
-behaviour(gen_server).

-export([start/1, stop/1, in_turn/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(MAX_AT_ONCE, 4).

-record(state, {
    %% Monitors of those whose turn it is.
    running = #{} :: #{reference() => []},
    waiting = queue:new() :: queue:queue(gen_server:from())
}).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    {ok, _} = gen_mod:start_child(?MODULE, Host, #{}),
    ok.

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    _ = gen_mod:stop_child(?MODULE, Host),
    ok.

%% @doc Waits for as long as it takes. The turn ends with the process that calls it, which should have nothing else to do.
-spec in_turn(Host :: binary(), fun(() -> Result)) -> Result.
in_turn(Host, Fun) ->
    ok = gen_server:call(gen_mod:get_module_proc(Host, ?MODULE), turn, infinity),
    Fun().

%% @private
init(_) ->
    {ok, #state{}}.

%% @private
handle_call(turn, From, #state{waiting = Waiting} = State) ->
    {noreply, next(State#state{waiting = queue:in(From, Waiting)})}.

%% @private
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
handle_info({'DOWN', Ref, process, _, _}, #state{running = Running} = State) ->
    {noreply, next(State#state{running = maps:remove(Ref, Running)})};
handle_info(_Message, State) ->
    {noreply, State}.

%% Who has gone while he waited gets his turn, and has ended it.
next(#state{running = Running, waiting = Waiting} = State) when map_size(Running) < ?MAX_AT_ONCE ->
    case queue:out(Waiting) of
        {empty, _} ->
            State;
        {{value, {Pid, _} = From}, Others} ->
            Ref = erlang:monitor(process, Pid),
            gen_server:reply(From, ok),
            next(State#state{running = Running#{Ref => []}, waiting = Others})
    end;
next(State) ->
    State.
