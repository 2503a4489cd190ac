%%% One user who is online on this node: asks for his roster when he logs in and whenever a change may have touched it,
%%% and tells his sessions here what is different. A process for each, so that what one is told waits for nobody else.
%%% What the order of answers means is said in warder_roster_order.
%%%
%%% A change of the user alone is asked about at once, together with those of the next moment. What fails is asked
%%% again, later each time, while he is online. Whatever fails, he keeps what he has; where that is nothing, he gets
%%% what was last known, until there is an answer. What is answered once he has left is last known, too.
-module(mod_warder_roster_user).
-behaviour(gen_server).

-export([start_link/3, login/3, wait/4, mark/4, change/3, is_due/1, left/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-include("logger.hrl").

%% In which several changes of one user are one.
-define(COALESCE_MS, 20).
-define(FIRST_RETRY_MS, 1000).
-define(LONGEST_RETRY_MS, 30000).
%% For who waits behind an answer that is just being told.
-define(CALL_TIMEOUT_MS, 5000).

-record(state, {
    user :: {LUser :: binary(), LServer :: binary()},
    host :: reference(),
    roster :: mod_warder_roster_items:roster() | none,
    %% What is last known beyond this process, and from when on this is one account.
    kept = none :: mod_warder_roster_items:content() | none,
    since = mod_warder_roster_known:since() :: integer(),
    order = warder_roster_order:new() :: warder_roster_order:order(),
    asked = mod_warder_roster_asked:new() :: mod_warder_roster_asked:asked(),
    %% When to ask, in monotonic milliseconds; and the place in the queue.
    timer = none :: none | {reference(), At :: integer(), single | mass},
    turn = none :: none | reference(),
    again = none :: none | reference(),
    %% Whether what is asked next is so because of a failure.
    is_retrying = false :: boolean(),
    failures = 0 :: non_neg_integer(),
    %% Only what is asked is still waited for.
    has_left = false :: boolean()
}).

%% @doc `Host' is the process that knows who is online, and without which nobody is.
-spec start_link(Host :: pid(), LUser :: binary(), LServer :: binary()) -> {ok, pid()} | {error, term()}.
start_link(Host, LUser, LServer) ->
    gen_server:start_link(?MODULE, {Host, {LUser, LServer}}, []).

%% @doc Asks at once, or joins what is being asked. `Pid' is sent `{warder_roster_had, Ref, HasRoster}', at the end of
%% the budget at the latest.
-spec login(pid(), Pid :: pid(), Ref :: reference()) -> ok.
login(User, Pid, Ref) ->
    gen_server:cast(User, {login, {Pid, Ref}}).

%% @doc `Pid' is told, as by login/3, when what it was told of under an earlier reference is over, or at once if it is.
-spec wait(pid(), Pid :: pid(), Ref :: reference(), Earlier :: reference()) -> ok.
wait(User, Pid, Ref, Earlier) ->
    gen_server:cast(User, {wait, {Pid, Ref}, {Pid, Earlier}}).

%% @doc Something may have changed: with its number or none, as in warder_roster_order. It is asked about after the
%% delay. `reset': nobody numbers any more.
-spec mark(pid(), Sequence :: non_neg_integer() | none | reset, DelayMs :: non_neg_integer(), single | mass) -> ok.
mark(User, Sequence, DelayMs, Line) ->
    gen_server:cast(User, {mark, Sequence, DelayMs, Line}).

%% @doc What is had changes on the spot, as the answer of this number allowed (0 for none), and his sessions here are
%% told. The function may leave it as it is: then no older answer replaces it, and nothing more.
-spec change(pid(), Seq :: non_neg_integer(), fun((Roster) -> Roster)) -> {ok, Roster} | none when
    Roster :: mod_warder_roster_items:roster().
change(User, Seq, Change) ->
    gen_server:call(User, {change, Seq, Change}, ?CALL_TIMEOUT_MS).

%% @doc Whether his roster may have changed since it was answered.
-spec is_due(pid()) -> boolean().
is_due(User) ->
    try
        gen_server:call(User, is_due, ?CALL_TIMEOUT_MS)
    catch
        exit:_ -> false
    end.

%% @doc His last session here has ended.
-spec left(pid()) -> ok.
left(User) ->
    gen_server:cast(User, left).

%% @private
init({Host, {LUser, LServer} = User}) ->
    %% What is last known shows until there is an answer.
    Roster = mod_warder_roster_state:claim(LUser, LServer),
    {ok, #state{user = User, host = monitor(process, Host), roster = Roster}}.

%% @private
handle_call(is_due, _From, #state{order = Order} = State) ->
    {reply, warder_roster_order:is_due(Order), State};
handle_call({change, Seq, Change}, _From, #state{order = Order, roster = Roster} = State) ->
    Changed = State#state{order = warder_roster_order:changed_here(Seq, Order)},
    case Roster of
        none -> {reply, none, Changed};
        _ -> change_here(Change(Roster), Changed)
    end.

change_here(Roster, #state{roster = Roster} = State) ->
    {reply, {ok, Roster}, State};
change_here(New, State) ->
    {reply, {ok, New}, take(New, State), {continue, keep}}.

%% @private Once everybody has been told.
handle_continue(keep, State) ->
    {noreply, keep(State)}.

%% Who has come back has a process of its own for that.
keep(#state{user = {LUser, LServer}, roster = Roster, kept = Kept, since = Since, has_left = HasLeft} = State) ->
    case Roster =/= none andalso mod_warder_roster_items:content(Roster) of
        Content when Content =:= false; Content =:= Kept ->
            State;
        Content ->
            _ = HasLeft andalso mod_warder_roster_state:is_online(LUser, LServer) orelse
                mod_warder_roster_known:keep(LUser, LServer, Since, Content),
            State#state{kept = Content}
    end.

%% @private
handle_cast(_Request, #state{has_left = true} = State) ->
    {noreply, State};
handle_cast({login, Tag}, #state{order = Order} = State) ->
    Marked =
        case warder_roster_order:asking(Order) of
            0 -> State#state{order = warder_roster_order:mark(none, Order)};
            _ -> State
        end,
    case warder_roster_order:wants_ask(Marked#state.order) of
        true -> {noreply, ask(<<"login">>, [Tag], none, Marked)};
        false -> {noreply, Marked#state{asked = mod_warder_roster_asked:join(Tag, Marked#state.asked)}}
    end;
handle_cast({wait, Tag, Earlier}, #state{asked = Asked, roster = Roster} = State) ->
    case mod_warder_roster_asked:follow(Tag, Earlier, Asked) of
        {ok, Waiting} ->
            {noreply, State#state{asked = Waiting}};
        over ->
            ok = mod_warder_roster_asked:tell([Tag], Roster =/= none),
            {noreply, State}
    end;
handle_cast({mark, reset, DelayMs, Line}, #state{order = Order} = State) ->
    handle_cast({mark, none, DelayMs, Line}, State#state{order = warder_roster_order:reset(Order)});
handle_cast({mark, Sequence, DelayMs, Line}, #state{order = Order} = State) ->
    Marked = State#state{order = warder_roster_order:mark(Sequence, Order)},
    case warder_roster_order:wants_ask(Marked#state.order) of
        true -> {noreply, ask_soon(DelayMs, Line, Marked)};
        false -> {noreply, Marked}
    end;
handle_cast(left, #state{user = {LUser, LServer}, asked = Asked, turn = Turn} = State) ->
    ok = mod_warder_roster_state:release(LUser, LServer),
    _ = Turn =/= none andalso warder_roster_queue:leave(Turn),
    GivenUp = mod_warder_roster_asked:give_up(Asked),
    stay(State#state{asked = GivenUp, turn = none, timer = none, has_left = true}).

stay(#state{asked = Asked} = State) ->
    case mod_warder_roster_asked:is_empty(Asked) of
        true -> {stop, normal, State};
        false -> {noreply, State}
    end.

%% An earlier time that is set already stays.
ask_soon(DelayMs, Line, #state{timer = Timer} = State) ->
    At = erlang:monotonic_time(millisecond) + DelayMs,
    case Timer of
        {_, Earlier, _} when Earlier =< At ->
            State;
        _ ->
            cancel(Timer),
            State#state{timer = {erlang:start_timer(DelayMs, self(), ask), At, Line}}
    end.

cancel(none) -> ok;
cancel({Timer, _, _}) -> cancel(Timer);
cancel(Timer) -> _ = erlang:cancel_timer(Timer), ok.

%% @private
handle_info({timeout, Timer, ask}, #state{timer = {Timer, _, Line}, order = Order, turn = Turn} = State) ->
    case Turn =:= none andalso warder_roster_order:wants_ask(Order) of
        true -> {noreply, State#state{timer = none, turn = warder_roster_queue:wait(Line)}};
        false -> {noreply, State#state{timer = none}}
    end;
handle_info({warder_roster_turn, Turn}, #state{turn = Turn, order = Order, user = {_, LServer}} = State) ->
    %% Without a connection he stays due; once there is one, everybody is.
    case is_connected(LServer) andalso warder_roster_order:wants_ask(Order) of
        true ->
            {noreply, ask(<<"changed">>, [], Turn, State#state{turn = none})};
        false ->
            ok = warder_roster_queue:leave(Turn),
            {noreply, State#state{turn = none}}
    end;
handle_info({timeout, Timer, again}, #state{again = Timer} = State) ->
    handle_cast({mark, none, 0, single}, State#state{again = none});
handle_info({'DOWN', Host, process, _, _}, #state{host = Host, asked = Asked} = State) ->
    _ = mod_warder_roster_asked:give_up(Asked),
    {stop, normal, State};
handle_info({'DOWN', Ref, process, _, Reason}, #state{asked = Asked} = State) ->
    case mod_warder_roster_asked:ended(Ref, Asked) of
        {Ticket, Waiting, Others} ->
            {HasRoster, HasFailed, Answered} = answered(Reason, Ticket, State#state{asked = Others}),
            ok = mod_warder_roster_asked:tell(Waiting, HasRoster),
            case Answered of
                #state{has_left = true} -> stay(keep(Answered));
                _ -> {noreply, go_on(HasFailed, Answered), {continue, keep}}
            end;
        none ->
            {noreply, State}
    end;
handle_info(_Other, State) ->
    {noreply, State}.

is_connected(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{client := Client}} -> warder_nats:is_connected(Client);
        none -> false
    end.

ask(Reason, Waiting, Turn, #state{user = {LUser, LServer}, order = Order, asked = Asked, roster = Roster} = State) ->
    {Ticket, Asking} = warder_roster_order:ask(Order),
    ok = mod_warder_roster_counts:count(LServer, asked),
    _ = State#state.is_retrying andalso mod_warder_roster_counts:count(LServer, retries),
    IsKnown = Roster =/= none,
    Ask = fun() -> mod_warder_roster_ask:ask(LUser, LServer, Reason, IsKnown) end,
    Asks = mod_warder_roster_asked:add(Ask, Ticket, Waiting, Turn, Asked),
    State#state{order = Asking, is_retrying = false, asked = Asks}.

answered({answer, {ok, Answer}}, Ticket, #state{user = {_, LServer}, order = Order} = State) ->
    ok = mod_warder_roster_ask:succeeded(LServer),
    #{roster := Given, seq := Seq} = Answer,
    case warder_roster_order:answered(Ticket, Seq, Order) of
        {false, Later} ->
            ok = mod_warder_roster_counts:count(LServer, older),
            {true, false, State#state{order = Later}};
        {true, Later} ->
            ok = mod_warder_roster_counts:count(LServer, applied),
            #state{user = User, roster = Old} = State,
            New = mod_warder_roster_items:from_answer(Given, Seq, User, Old),
            {true, false, ask_again(Answer, take(New, State#state{order = Later}))}
    end;
answered({answer, {error, Failure, Known}}, _Ticket, #state{user = {_, LServer}, order = Order} = State) ->
    Recalled = #state{roster = Roster} = recall(Known, State),
    HasRoster = mod_warder_roster_ask:fall_back(LServer, Failure, Roster =/= none),
    {HasRoster, true, Recalled#state{order = warder_roster_order:failed(Order)}};
answered(Crash, Ticket, State) ->
    ?ERROR_MSG("Could not ask for a roster: ~p", [Crash]),
    answered({answer, {error, crashed, none}}, Ticket, State).

%% It has no number, and who has it stays due: any answer replaces it.
recall({ok, Known}, #state{roster = none} = State) ->
    take(Known, State#state{kept = mod_warder_roster_items:content(Known)});
recall(_, State) ->
    State.

%% The source reads from where the last change may not have arrived.
ask_again(#{again_ms := AfterMs}, #state{again = Again} = State) ->
    cancel(Again),
    State#state{again = erlang:start_timer(AfterMs, self(), again)};
ask_again(_Answer, State) ->
    State.

take(New, #state{user = {LUser, LServer}, roster = Old} = State) ->
    {Roster, Changes, Requests} = mod_warder_roster_items:replaced(Old, New),
    case mod_warder_roster_state:put(LUser, LServer, Roster) of
        true -> mod_warder_roster_push:tell(LUser, LServer, Roster, Changes, Requests);
        %% He has come back meanwhile, and has a process of its own for that.
        false -> ok
    end,
    State#state{roster = Roster}.

%% What is still missing is asked again.
go_on(HasFailed, #state{order = Order, failures = Failures} = State) ->
    IsDue = warder_roster_order:is_due(Order),
    IsTried = warder_roster_order:is_tried(Order),
    case warder_roster_order:asking(Order) of
        _ when not IsDue -> State#state{failures = 0};
        _ when not IsTried -> ask_soon(?COALESCE_MS, single, State);
        Asking when Asking =:= 0; HasFailed ->
            ask_soon(retry_delay(Failures), mass, State#state{is_retrying = true, failures = Failures + 1});
        _ -> State
    end.

retry_delay(Failures) ->
    Longest = min(?LONGEST_RETRY_MS, ?FIRST_RETRY_MS bsl min(Failures, 10)),
    round(Longest * (0.5 + rand:uniform() / 2)).
