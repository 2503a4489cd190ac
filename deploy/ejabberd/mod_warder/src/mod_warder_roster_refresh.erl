%%% Who is online on this node, for one host: starts a process for each user when his first session comes, and ends it
%%% with his last; hears of changes, and says who may be touched by them. Who is offline costs nothing.
%%%
%%% What concerns everybody (all, the domain, rosters as a whole, what was missed, a new connection) is spread over some
%%% seconds. Waits for nobody.
-module(mod_warder_roster_refresh).
-behaviour(gen_server).

-export([start_link/1, monitor/1, login/4, wait/5, ask/4, user/2, reload/1, stats/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include("ejabberd_sm.hrl").

%% What concerns everybody is asked at this rate, or faster where that would take too long.
-define(MASS_PER_SECOND, 200).
-define(LONGEST_SPREAD_MS, 5000).
%% Before asking what was missed while nobody listened.
-define(BEGIN_MS, 500).
%% After something of it has ended that should not have.
-define(PAUSE_MS, 1000).

-record(user, {pid :: pid(), sessions :: #{pid() => reference()}}).
-record(state, {
    host :: binary(),
    is_on = false :: boolean(),
    users = #{} :: #{LUser :: binary() => #user{}},
    %% Whose monitor it is: of a session, or of a user's process.
    monitors = #{} :: #{reference() => {session, binary(), pid()} | {user, binary()}},
    feed = none :: none | mod_warder_roster_feed:feed()
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

%% @doc The session waits for what it was announced with, by another reference.
-spec wait(Host :: binary(), LUser :: binary(), Session :: pid(), Ref :: reference(), Login :: reference()) -> ok.
wait(Host, LUser, Session, Ref, Login) ->
    gen_server:cast(process(Host), {wait, LUser, Session, Ref, Login}).

%% @doc As login/4 for who is no session; of who is not online here nobody is asked.
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

%% @doc What was counted, and how many are online and due now; nothing where rosters are not kept.
-spec stats(Host :: binary()) -> #{atom() => non_neg_integer()}.
stats(Host) ->
    try gen_server:call(process(Host), users) of
        none ->
            #{};
        Users ->
            Due = [User || User <- Users, mod_warder_roster_user:is_due(User)],
            (mod_warder_roster_counts:read(Host))#{online => length(Users), due => length(Due)}
    catch
        exit:_ -> #{}
    end.

%% @private
init(Host) ->
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
handle_cast({wait, LUser, Session, Ref, Login}, #state{users = Users} = State) ->
    case Users of
        #{LUser := #user{pid = Pid}} -> mod_warder_roster_user:wait(Pid, Session, Ref, Login);
        _ -> Session ! {warder_roster_had, Ref, false}
    end,
    {noreply, State};
handle_cast({ask, LUser, Asker, Ref}, #state{users = Users} = State) ->
    case Users of
        #{LUser := #user{pid = Pid}} -> mod_warder_roster_user:login(Pid, Asker, Ref);
        _ -> Asker ! {warder_roster_had, Ref, false}
    end,
    {noreply, State};
handle_cast(reload, State) ->
    {noreply, follow(State)}.

%% @private
handle_info(follow, State) ->
    {noreply, follow(State)};
handle_info({revive, LUser, Sessions}, State) ->
    {noreply, lists:foldl(fun(Session, Come) -> come_due(LUser, Session, Come) end, State, Sessions)};
handle_info({'DOWN', Monitor, process, _, _}, #state{monitors = Monitors} = State) when is_map_key(Monitor, Monitors) ->
    case maps:take(Monitor, Monitors) of
        {{session, LUser, Session}, Others} -> {noreply, gone(LUser, Session, State#state{monitors = Others})};
        {{user, LUser}, Others} -> {noreply, crashed(LUser, State#state{monitors = Others})}
    end;
handle_info(Message, #state{feed = Feed} = State) when Feed =/= none ->
    case mod_warder_roster_feed:read(Message, Feed) of
        {News, Read} -> {noreply, lists:foldl(fun mark/2, State#state{feed = Read}, News)};
        lost -> {noreply, follow(unlisten(State))};
        other -> {noreply, State}
    end;
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

listen(Names, #state{host = Host, feed = Feed} = State) ->
    case Feed =/= none andalso mod_warder_roster_feed:names(Feed) =:= Names of
        true ->
            State;
        false ->
            Free = unlisten(State),
            case mod_warder_roster_feed:open(Host, Names) of
                {ok, Opened} ->
                    mark({all, none, ?BEGIN_MS}, Free#state{feed = Opened});
                error ->
                    _ = erlang:send_after(?PAUSE_MS, self(), follow),
                    Free
            end
    end.

unlisten(#state{feed = none} = State) ->
    State;
unlisten(#state{feed = Feed} = State) ->
    ok = mod_warder_roster_feed:close(Feed),
    State#state{feed = none}.

mark({user, LUser, Sequence, DelayMs}, #state{users = Users} = State) ->
    _ = [mod_warder_roster_user:mark(Pid, Sequence, DelayMs, single) || #{LUser := #user{pid = Pid}} <- [Users]],
    State;
mark({all, Sequence, DelayMs}, #state{users = Users} = State) ->
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
            Known = User#user{sessions = Sessions#{Session => Monitor}},
            watch(Monitor, {session, LUser, Session}, LUser, Known, State);
        _ ->
            {ok, Pid} = mod_warder_roster_sup:start_user(self(), LUser, State#state.host),
            Started = watch(monitor(process, Pid), {user, LUser}, LUser, #user{pid = Pid, sessions = #{}}, State),
            come(LUser, Session, Started)
    end.

watch(Monitor, Whose, LUser, User, #state{users = Users, monitors = Monitors} = State) ->
    State#state{users = Users#{LUser => User}, monitors = Monitors#{Monitor => Whose}}.

%% Those who were there before this process.
come_all(#state{host = Host} = State) ->
    lists:foldl(
        fun
            (#session{us = {LUser, LServer}, sid = {_, Pid}}, Come) when LServer =:= Host -> come(LUser, Pid, Come);
            (_, Come) -> Come
        end,
        State,
        ejabberd_sm:dirty_get_my_sessions_list()
    ).

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
