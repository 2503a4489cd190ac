%%% Whose roster is asked for next: so many at once on this node, the others in two lines. Knows nothing of what is
%%% asked.
%%%
%%% One line is for changes of single users, the other for what concerns everybody. They take turns, so that a change is
%%% seen soon while thousands are waiting, and these come to an end whatever changes meanwhile.
-module(warder_roster_queue).
-behaviour(gen_server).

-export([start_link/0, start_link/2, wait/1, wait/2, leave/1, leave/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(MOST_AT_ONCE, 16).

-record(state, {
    most :: pos_integer(),
    %% Whose turn it is, or was given up; the references are of the monitors of those who wait or ask.
    running = #{} :: #{reference() => true},
    lines = #{single => queue:new(), mass => queue:new()} :: #{line() => queue:queue({reference(), pid()})},
    %% Those in the lines who are still there.
    waiting = #{} :: #{reference() => true},
    next = single :: line()
}).

-type line() :: single | mass.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link({local, ?MODULE}, ?MOST_AT_ONCE).

-spec start_link({local, atom()}, Most :: pos_integer()) -> {ok, pid()} | {error, term()}.
start_link(Name, Most) ->
    gen_server:start_link(Name, ?MODULE, Most, []).

%% @doc The caller is sent `{warder_roster_turn, Ref}' when it is his turn, which lasts until he leaves or ends.
-spec wait(line()) -> reference().
wait(Line) ->
    wait(?MODULE, Line).

-spec wait(gen_server:server_ref(), line()) -> reference().
wait(Queue, Line) ->
    gen_server:call(Queue, {wait, Line, self()}, infinity).

-spec leave(reference()) -> ok.
leave(Ref) ->
    leave(?MODULE, Ref).

-spec leave(gen_server:server_ref(), reference()) -> ok.
leave(Queue, Ref) ->
    gen_server:cast(Queue, {leave, Ref}).

%% @private
init(Most) ->
    {ok, #state{most = Most}}.

%% @private
handle_call({wait, Line, Pid}, _From, #state{lines = Lines, waiting = Waiting} = State) ->
    Ref = monitor(process, Pid),
    Longer = queue:in({Ref, Pid}, maps:get(Line, Lines)),
    {reply, Ref, go_on(State#state{lines = Lines#{Line => Longer}, waiting = Waiting#{Ref => true}})}.

%% @private
handle_cast({leave, Ref}, State) ->
    _ = demonitor(Ref, [flush]),
    {noreply, ended(Ref, State)}.

%% @private
handle_info({'DOWN', Ref, process, _, _}, State) ->
    {noreply, ended(Ref, State)};
handle_info(_Other, State) ->
    {noreply, State}.

ended(Ref, #state{running = Running, waiting = Waiting} = State) ->
    go_on(State#state{running = maps:remove(Ref, Running), waiting = maps:remove(Ref, Waiting)}).

go_on(#state{running = Running, most = Most} = State) when map_size(Running) >= Most ->
    State;
go_on(#state{next = Next} = State) ->
    case take(Next, State) of
        {{Ref, Pid}, Taken} -> begin_turn(Ref, Pid, Taken#state{next = other(Next)});
        none -> take_other(Next, State)
    end.

take_other(Line, State) ->
    case take(other(Line), State) of
        {{Ref, Pid}, Taken} -> begin_turn(Ref, Pid, Taken#state{next = Line});
        none -> State
    end.

begin_turn(Ref, Pid, #state{running = Running, waiting = Waiting} = State) ->
    case maps:take(Ref, Waiting) of
        {true, Others} ->
            Pid ! {warder_roster_turn, Ref},
            go_on(State#state{running = Running#{Ref => true}, waiting = Others});
        error ->
            go_on(State)
    end.

take(Line, #state{lines = Lines} = State) ->
    case queue:out(maps:get(Line, Lines)) of
        {{value, First}, Rest} -> {First, State#state{lines = Lines#{Line => Rest}}};
        {empty, _} -> none
    end.

other(single) -> mass;
other(mass) -> single.
