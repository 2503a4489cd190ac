%%% The last known rosters on disk: what somebody who logs in has while no worker answers, also after a restart. Written
%%% by one process for each host, which nobody waits for; read when there was no answer and nothing is known otherwise.
%%%
%%% Each node keeps those that were answered to it, and of all nodes the latest counts. So no write goes over the
%%% cluster, and a node that is gone takes nothing along but what only it had.
-module(mod_warder_roster_known).
-behaviour(gen_server).

-export([start/1, stop/1, reload/1]).
-export([since/0, keep/4, find/2]).
%% For hooks, and for other nodes.
-export([remove_user/2, read/2]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include("logger.hrl").

%% After the sessions of the account were told to end.
-define(SEQ, 110).
%% For what all nodes know: a disk may be slow, but who waits for it may have waited for a worker already.
-define(FIND_MS, 500).
-define(FORGET_MS, 2000).
%% What may wait to be written. Beyond it what is on disk stays older than what is known.
-define(MOST_WAITING, 10_000).
-define(REOPEN_MS, 60_000).
%% For how long a session of a removed account may still be told of a roster.
-define(LINGER_MS, 600_000).

-record(state, {
    host :: binary(),
    file = closed :: closed | open | damaged,
    %% When it is to be opened again.
    timer = none :: none | reference(),
    %% Accounts removed lately.
    forgotten = #{} :: #{LUser :: binary() => At :: integer()}
}).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ok = mod_warder_child:start(?MODULE, Host),
    ejabberd_hooks:add(remove_user, Host, ?MODULE, remove_user, ?SEQ).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(remove_user, Host, ?MODULE, remove_user, ?SEQ),
    mod_warder_child:stop(?MODULE, Host).

%% @doc Where rosters are not kept elsewhere any more, what was known is forgotten.
-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    gen_server:cast(process(Host), follow).

process(Host) -> mod_warder_child:process(?MODULE, Host).

%% @doc For who will call keep/4: the moment from which he has the user's rosters.
-spec since() -> integer().
since() ->
    erlang:system_time(millisecond).

%% @doc This is what is last known, unless the account was removed `Since'. Waits for nothing; written where it differs
%% from what is on disk.
-spec keep(LUser :: binary(), LServer :: binary(), Since :: integer(), mod_warder_roster_items:content()) -> ok.
keep(LUser, LServer, Since, Content) ->
    Keeper = whereis(process(LServer)),
    case is_pid(Keeper) andalso process_info(Keeper, message_queue_len) of
        {message_queue_len, Waiting} when Waiting < ?MOST_WAITING ->
            gen_server:cast(Keeper, {keep, LUser, Since, term_to_binary(Content, [deterministic, compressed])});
        _ ->
            mod_warder_roster_counts:count(LServer, unkept)
    end.

%% @doc The latest that any node of the cluster has on disk. Takes half a second at most.
-spec find(LUser :: binary(), LServer :: binary()) -> {ok, mod_warder_roster_items:roster()} | none.
find(LUser, LServer) ->
    Read = erpc:multicall(ejabberd_cluster:get_nodes(), ?MODULE, read, [LUser, LServer], ?FIND_MS),
    case lists:reverse(lists:keysort(1, [Found || {ok, {_, _} = Found} <- Read])) of
        [{_At, Packed} | _] when is_binary(Packed) -> unpack(Packed);
        _ -> none
    end.

unpack(Packed) ->
    try mod_warder_roster_items:from_content(binary_to_term(Packed)) of
        Roster -> {ok, Roster}
    catch
        error:_ -> none
    end.

%% @private What this node has, with all that was kept before.
-spec read(LUser :: binary(), LServer :: binary()) -> {At :: integer(), binary() | gone} | none.
read(LUser, LServer) ->
    gen_server:call(process(LServer), {read, LUser}).

%% @private Gone from all nodes when it has come back; a node that is not there is overruled when it is again.
-spec remove_user(binary(), binary()) -> ok.
remove_user(User, Server) ->
    LServer = jid:nameprep(Server),
    case mod_warder_roster:is_on(LServer) of
        true ->
            Nodes = ejabberd_cluster:get_nodes(),
            IsMissed = mnesia:system_info(db_nodes) -- Nodes =/= [],
            _ = gen_server:multi_call(Nodes, process(LServer), {forget, jid:nodeprep(User), IsMissed}, ?FORGET_MS),
            ok;
        false ->
            ok
    end.

%% @private
init(Host) ->
    process_flag(trap_exit, true),
    {ok, #state{host = Host}, {continue, follow}}.

%% @private Nobody waits for a file that has to be repaired first.
handle_continue(follow, State) ->
    {noreply, follow(State)}.

%% @private
handle_call({read, LUser}, _From, #state{host = Host} = State) ->
    case mod_warder_roster_file:lookup(Host, LUser) of
        {ok, {LUser, At, gone}} -> {reply, {At, gone}, State};
        {ok, Row} -> {reply, checked(Row, Host), State};
        none -> {reply, none, State};
        {error, _} = Error -> {reply, none, settled(Error, State)}
    end;
handle_call({forget, LUser, IsMissed}, _From, #state{host = Host, forgotten = Forgotten} = State) ->
    At = since(),
    Done =
        case IsMissed of
            true -> mod_warder_roster_file:insert(Host, {LUser, At, gone});
            false -> mod_warder_roster_file:delete(Host, LUser)
        end,
    _ = Done =:= ok andalso mod_warder_roster_file:sync(Host),
    _ = erlang:send_after(?LINGER_MS, self(), {forgotten, LUser, At}),
    {reply, ok, settled(Done, State#state{forgotten = Forgotten#{LUser => At}})}.

%% What is damaged is replaced by the next answer.
checked({LUser, At, Checksum, Packed}, Host) when is_integer(At), is_binary(Packed) ->
    case erlang:crc32(Packed) of
        Checksum -> {At, Packed};
        _ -> damaged(LUser, Host)
    end;
checked(Row, Host) ->
    damaged(element(1, Row), Host).

damaged(LUser, Host) ->
    ?ERROR_MSG("What was last known of the roster of ~ts@~ts is damaged on disk", [LUser, Host]),
    none.

%% @private
handle_cast(follow, State) ->
    {noreply, follow(State)};
handle_cast({keep, LUser, Since, Packed}, #state{forgotten = Forgotten} = State) ->
    case Forgotten of
        #{LUser := At} when At >= Since -> {noreply, State};
        _ -> {noreply, write(LUser, Packed, State)}
    end.

%% @private
handle_info(follow, State) ->
    {noreply, follow(State)};
handle_info({forgotten, LUser, At}, #state{forgotten = Forgotten} = State) ->
    case Forgotten of
        #{LUser := At} -> {noreply, State#state{forgotten = maps:remove(LUser, Forgotten)}};
        _ -> {noreply, State}
    end;
handle_info(_Other, State) ->
    {noreply, State}.

%% @private
terminate(_Reason, #state{host = Host}) ->
    mod_warder_roster_file:close(Host).

%% Of a host that is just being stopped nothing is known to do.
follow(#state{host = Host, file = File} = State) ->
    case mod_warder_hosts:find(Host) of
        {ok, #{settings := #{roster := true}}} when File =:= open ->
            State;
        {ok, #{settings := #{roster := true}}} ->
            open(State);
        {ok, _} ->
            ok = mod_warder_roster_file:remove(Host),
            State#state{file = closed};
        none ->
            State
    end.

open(#state{host = Host, file = File, forgotten = Forgotten} = State) ->
    case mod_warder_roster_file:open(Host, File) of
        ok ->
            lists:foreach(fun(LUser) -> mod_warder_roster_file:delete(Host, LUser) end, maps:keys(Forgotten)),
            State#state{file = open};
        error ->
            later(State)
    end.

later(#state{timer = Earlier} = State) ->
    _ = Earlier =/= none andalso erlang:cancel_timer(Earlier),
    State#state{timer = erlang:send_after(?REOPEN_MS, self(), follow)}.

write(LUser, Packed, #state{host = Host, file = open} = State) ->
    Checksum = erlang:crc32(Packed),
    case mod_warder_roster_file:lookup(Host, LUser) of
        {error, _} = Error -> settled(Error, State);
        {ok, {LUser, _, Checksum, Packed}} -> confirm(ejabberd_cluster:get_nodes(), LUser, Checksum, Packed, State);
        _ -> insert(LUser, Checksum, Packed, State)
    end;
write(_LUser, _Packed, #state{host = Host} = State) ->
    ok = mod_warder_roster_counts:count(Host, unkept),
    State.

%% What is the same is written anew only where another node may have something later that is not so any more.
confirm([_], _LUser, _Checksum, _Packed, State) -> State;
confirm(_, LUser, Checksum, Packed, State) -> insert(LUser, Checksum, Packed, State).

insert(LUser, Checksum, Packed, #state{host = Host} = State) ->
    Done = mod_warder_roster_file:insert(Host, {LUser, since(), Checksum, Packed}),
    _ = Done =:= ok orelse mod_warder_roster_counts:count(Host, unkept),
    settled(Done, State).

settled({error, Reason}, #state{host = Host, file = open} = State) ->
    ?ERROR_MSG("The last known rosters of ~ts are not at hand for a while: ~p", [Host, Reason]),
    ok = mod_warder_roster_file:close(Host),
    later(State#state{file = damaged});
settled(_, State) ->
    State.
