%%% Who is online on this node, for one host: starts a process for each user when his first session comes, and ends it with
%%% his last; hears of changes, and says who may be touched by them. Who is offline costs nothing.
%%%
%%% What concerns everybody (all, the domain, rosters as a whole, what was missed, a new connection) is spread over some
%%% seconds. Waits for nobody.
-module(mod_warder_roster_refresh).
-behaviour(gen_server).

-export([start_link/1, monitor/1, login/4, ask/4, user/2, reload/1, count/2, stats/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include("logger.hrl").
-include("ejabberd_sm.hrl").

%% In which several changes are one.
-define(COALESCE_MS, 20).
%% How long after connecting to begin: the workers are connecting too, and the first number says what was missed.
-define(SETTLE_MS, 500).
%% What concerns everybody is asked at this rate, or faster where that would take too long.
-define(MASS_PER_SECOND, 200).
-define(LONGEST_SPREAD_MS, 5000).
%% After something of it has ended that should not have.
-define(PAUSE_MS, 1000).
%% Since the node has started. `older': answers that came behind a newer one. `retries': of those asked, the ones after a
%% failure or an answer that came too soon.
-define(COUNTED, [asked, applied, older, retries]).

-record(user, {pid :: pid(), sessions :: #{pid() => reference()}}).
%% What is listened to: the changes, and the connection that they come by; and the monitor of who tells of them.
-record(feed, {
    names :: {Client :: atom(), Changes :: atom()},
    status :: reference(),
    changes :: reference(),
    monitor :: reference()
}).
-record(state, {
    host :: binary(),
    is_on = false :: boolean(),
    users = #{} :: #{LUser :: binary() => #user{}},
    %% Whose monitor it is: of a session, or of a user's process.
    monitors = #{} :: #{reference() => {session, binary(), pid()} | {user, binary()}},
    feed = none :: none | #feed{},
    seen = 0 :: non_neg_integer()
}).

-spec start_link(Host :: binary()) -> {ok, pid()} | {error, term()}.
start_link(Host) ->
    gen_server:start_link({local, process(Host)}, ?MODULE, Host, []).

process(Host) -> gen_mod:get_module_proc(Host, ?MODULE).

%% @doc Of the process without which nobody here is asked for.
-spec monitor(Host :: binary()) -> reference().
monitor(Host) ->
    monitor(process, process(Host)).

%% @doc This session is there from now on; his roster is asked for. `Session' is told as by {@link
%% mod_warder_roster_user:login/3}.
-spec login(Host :: binary(), LUser :: binary(), Session :: pid(), Ref :: reference()) -> ok.
login(Host, LUser, Session, Ref) ->
    gen_server:cast(process(Host), {login, LUser, Session, Ref}).

%% @doc The same for who is no session. Nothing comes where the user is not online here.
-spec ask(Host :: binary(), LUser :: binary(), Pid :: pid(), Ref :: reference()) -> ok.
ask(Host, LUser, Pid, Ref) ->
    gen_server:cast(process(Host), {ask, LUser, Pid, Ref}).

%% @doc The user's process.
-spec user(Host :: binary(), LUser :: binary()) -> {ok, pid()} | none.
user(Host, LUser) ->
    gen_server:call(process(Host), {user, LUser}).

%% @doc The host's options are others now.
-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    gen_server:cast(process(Host), reload).

%% @doc Counts one more.
-spec count(Host :: binary(), asked | applied | older | retries) -> ok.
count(Host, Name) ->
    counters:add(persistent_term:get({?MODULE, Host}), index(Name, ?COUNTED), 1).

index(Name, [Name | _]) -> 1;
index(Name, [_ | Names]) -> 1 + index(Name, Names).

%% @doc What was counted, and how many are online and due now; nothing where rosters are not kept.
-spec stats(Host :: binary()) -> #{atom() => non_neg_integer()}.
stats(Host) ->
    try gen_server:call(process(Host), users) of
        none ->
            #{};
        Users ->
            Counters = persistent_term:get({?MODULE, Host}),
            Counted = maps:from_list([{Name, counters:get(Counters, index(Name, ?COUNTED))} || Name <- ?COUNTED]),
            Counted#{online => length(Users), due => length([due || User <- Users, mod_warder_roster_user:is_due(User)])}
    catch
        exit:_ -> #{}
    end.

%% @private
init(Host) ->
    case persistent_term:get({?MODULE, Host}, none) of
        none -> persistent_term:put({?MODULE, Host}, counters:new(length(?COUNTED), []));
        _ -> ok
    end,
    {ok, follow(#state{host = Host})}.

%% @private
handle_call({user, LUser}, _From, #state{users = Users} = State) ->
    case Users of
        #{LUser := #user{pid = Pid}} -> {reply, {ok, Pid}, State};
        _ -> {reply, none, State}
    end;
handle_call(users, _From, #state{is_on = false} = State) ->
    {reply, none, State};
handle_call(users, _From, #state{users = Users} = State) ->
    {reply, [Pid || #user{pid = Pid} <- maps:values(Users)], State}.

%% @private
handle_cast({login, LUser, Session, Ref}, State) ->
    Come = #state{users = #{LUser := #user{pid = Pid}}} = come(LUser, Session, State),
    ok = mod_warder_roster_user:login(Pid, Session, Ref),
    {noreply, Come};
handle_cast({ask, LUser, Asker, Ref}, #state{users = Users} = State) ->
    case Users of
        #{LUser := #user{pid = Pid}} -> mod_warder_roster_user:login(Pid, Asker, Ref);
        _ -> Asker ! {warder_roster_had, Ref, false}
    end,
    {noreply, State};
handle_cast(reload, State) ->
    {noreply, follow(State)}.

%% @private
handle_info({warder_change, Ref, Change, Sequence}, #state{feed = #feed{changes = Ref}} = State) ->
    {noreply, changed(Change, Sequence, State)};
handle_info({warder_nats, Ref, {connected, Info}}, #state{feed = #feed{status = Ref}} = State) ->
    case Info of
        #{<<"jetstream">> := true} -> {noreply, mark_all(none, ?SETTLE_MS, State)};
        _ -> {noreply, mark_all(reset, ?SETTLE_MS, State)}
    end;
handle_info({'DOWN', Monitor, process, _, _}, #state{feed = #feed{monitor = Monitor}} = State) ->
    {noreply, follow(unlisten(State))};
handle_info({'DOWN', Monitor, process, _, _}, #state{monitors = Monitors} = State) when is_map_key(Monitor, Monitors) ->
    case maps:take(Monitor, Monitors) of
        {{session, LUser, Session}, Others} -> {noreply, gone(LUser, Session, State#state{monitors = Others})};
        {{user, LUser}, Others} -> {noreply, crashed(LUser, State#state{monitors = Others})}
    end;
handle_info(follow, State) ->
    {noreply, follow(State)};
handle_info({revive, LUser, Sessions}, State) ->
    {noreply, lists:foldl(fun(Session, Come) -> come_due(LUser, Session, Come) end, State, Sessions)};
handle_info(_Other, State) ->
    {noreply, State}.

%% Listens to what the host's options say, if they say so.
follow(#state{host = Host, is_on = WasOn} = State) ->
    case mod_warder_hosts:find(Host) of
        {ok, #{settings := #{roster := true}, client := Client, changes := Changes}} ->
            On = State#state{is_on = true},
            listen({Client, Changes}, case WasOn of true -> On; false -> come_all(On) end);
        _ ->
            leave_all(unlisten(State#state{is_on = false}))
    end.

listen(Names, #state{feed = #feed{names = Names}} = State) ->
    State;
listen({Client, Changes} = Names, State) ->
    Free = unlisten(State),
    %% It does not outlive its connection (warder_sup), so one monitor does for both.
    Monitor = monitor(process, Changes),
    try
        {ok, Status} = warder_nats:listen(Client),
        {ok, Ref} = warder_changes:listen(Changes),
        Feed = #feed{names = Names, status = Status, changes = Ref, monitor = Monitor},
        mark_all(none, ?SETTLE_MS, Free#state{feed = Feed})
    catch
        exit:_ ->
            _ = demonitor(Monitor, [flush]),
            _ = erlang:send_after(?PAUSE_MS, self(), follow),
            Free
    end.

unlisten(#state{feed = none} = State) ->
    State;
unlisten(#state{feed = #feed{names = {Client, Changes}, status = Status, changes = Ref, monitor = Monitor}} = State) ->
    _ = demonitor(Monitor, [flush]),
    _ = catch warder_nats:unlisten(Client, Status),
    _ = catch warder_changes:unlisten(Changes, Ref),
    State#state{feed = none}.

changed(all, none, State) ->
    mark_all(reset, ?SETTLE_MS, State);
changed(all, Sequence, #state{seen = Seen} = State) when Sequence > Seen ->
    mark_all(Sequence, ?COALESCE_MS, State#state{seen = Sequence});
changed(all, _Sequence, State) ->
    mark_all(none, ?COALESCE_MS, State);
changed(Change, Sequence, #state{host = Host, users = Users} = State) ->
    case Change of
        {user, Jid} ->
            case split(Jid) of
                {LUser, Host} when is_map_key(LUser, Users) ->
                    #user{pid = Pid} = maps:get(LUser, Users),
                    ok = mod_warder_roster_user:mark(Pid, Sequence, ?COALESCE_MS, single);
                _ ->
                    ok
            end,
            seen(Sequence, State);
        {domain, Host} ->
            mark_all(Sequence, ?COALESCE_MS, seen(Sequence, State));
        {operation, roster_refresh} ->
            mark_all(Sequence, ?COALESCE_MS, seen(Sequence, State));
        _ ->
            seen(Sequence, State)
    end.

seen(none, State) -> State;
seen(Sequence, #state{seen = Seen} = State) -> State#state{seen = max(Seen, Sequence)}.

split({LUser, LServer, _}) ->
    {LUser, LServer};
split(Jid) ->
    case binary:split(Jid, <<"@">>) of
        [LUser, LServer] -> {LUser, LServer};
        _ -> none
    end.

mark_all(Sequence, DelayMs, #state{users = Users} = State) ->
    SpreadMs = min(?LONGEST_SPREAD_MS, map_size(Users) * 1000 div ?MASS_PER_SECOND),
    maps:foreach(
        fun(_, #user{pid = Pid}) ->
            mod_warder_roster_user:mark(Pid, Sequence, DelayMs + rand:uniform(SpreadMs + 1) - 1, mass)
        end,
        Users
    ),
    State.

come(LUser, Session, #state{users = Users} = State) ->
    case Users of
        #{LUser := #user{sessions = #{Session := _}}} ->
            State;
        #{LUser := #user{sessions = Sessions} = User} ->
            Monitor = monitor(process, Session),
            watch(Monitor, {session, LUser, Session}, LUser, User#user{sessions = Sessions#{Session => Monitor}}, State);
        _ ->
            {ok, Pid} = mod_warder_roster_sup:start_user(self(), LUser, State#state.host),
            Started = watch(monitor(process, Pid), {user, LUser}, LUser, #user{pid = Pid, sessions = #{}}, State),
            come(LUser, Session, Started)
    end.

watch(Monitor, Whose, LUser, User, #state{users = Users, monitors = Monitors} = State) ->
    State#state{users = Users#{LUser => User}, monitors = Monitors#{Monitor => Whose}}.

%% Those who were there before this process.
come_all(#state{host = Host} = State) ->
    Here = [{LUser, Session} || #session{us = {LUser, LServer}, sid = {_, Session}} <- ejabberd_sm:dirty_get_my_sessions_list(),
        LServer =:= Host],
    lists:foldl(fun({LUser, Session}, Come) -> come(LUser, Session, Come) end, State, Here).

come_due(LUser, Session, State) ->
    Come = #state{users = #{LUser := #user{pid = Pid}}} = come(LUser, Session, State),
    ok = mod_warder_roster_user:mark(Pid, none, 0, single),
    Come.

gone(LUser, Session, #state{users = Users} = State) ->
    case Users of
        #{LUser := #user{sessions = Sessions} = User} ->
            case maps:remove(Session, Sessions) of
                None when map_size(None) =:= 0 -> leave(LUser, State);
                Others -> State#state{users = Users#{LUser => User#user{sessions = Others}}}
            end;
        _ ->
            State
    end.

leave(LUser, #state{users = Users, monitors = Monitors} = State) ->
    {#user{pid = Pid, sessions = Sessions}, Others} = maps:take(LUser, Users),
    ok = mod_warder_roster_user:left(Pid),
    Left = maps:filter(fun(_, Whose) -> Whose =/= {user, LUser} end, maps:without(maps:values(Sessions), Monitors)),
    State#state{users = Others, monitors = Left}.

leave_all(#state{users = Users} = State) ->
    lists:foldl(fun leave/2, State, maps:keys(Users)).

%% His sessions are still there, and so is what is last known.
crashed(LUser, #state{users = Users, monitors = Monitors} = State) ->
    case maps:take(LUser, Users) of
        {#user{sessions = Sessions}, Others} ->
            _ = [demonitor(Monitor, [flush]) || Monitor <- maps:values(Sessions)],
            _ = erlang:send_after(?PAUSE_MS, self(), {revive, LUser, maps:keys(Sessions)}),
            State#state{users = Others, monitors = maps:without(maps:values(Sessions), Monitors)};
        error ->
            State
    end.
