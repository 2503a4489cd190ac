%%% user-removed: tells the workers that an account is gone, with one id, again and again until they acknowledge it.
%%% What is not told yet is stored, and told after a restart. Where rosters are kept elsewhere, an account that was made
%%% again is not let in before: it would be shown what its predecessor left. One process for each host; it waits for
%%% nothing but the disk.
-module(mod_warder_removed).
-behaviour(gen_server).

-export([start/1, stop/1]).
-export([is_on/1, admit/3]).
%% For hooks, and for other nodes.
-export([remove_user/2, await/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include("logger.hrl").
-include("xmpp.hrl").

-define(OPERATION, user_removed).
%% After all that other modules do about the account.
-define(SEQ, 90).
-define(FIRST_DELAY_MS, 1000).
-define(LONGEST_DELAY_MS, 60000).
%% Removals that may wait; one more is told once. Each costs a record in the file.
-define(MAX_WAITING, 10000).
%% So many a second are told again after a restart.
-define(TRIES_A_SECOND, 50).
%% For the disk, and for who came before.
-define(CALL_TIMEOUT_MS, 10000).
%% Over the budget of the question.
-define(SLACK_MS, 1000).

-record(removal, {
    user :: binary(),
    is_stored = true :: boolean(),
    tries = 1 :: pos_integer(),
    %% Of the next try; none while it is being told.
    timer = none :: reference() | none
}).
-record(state, {
    host :: binary(),
    waiting = #{} :: #{mod_warder_removals:id() => #removal{}},
    telling = #{} :: #{pid() => mod_warder_removals:id()},
    %% Who waits for the next answer about an account.
    blocked = #{} :: #{LUser :: binary() => [gen_server:from()]},
    %% What is done once all that was written is on disk.
    unsynced = [] :: [fun(() -> term())]
}).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ok = mod_warder_child:start(?MODULE, Host),
    ejabberd_hooks:add(remove_user, Host, ?MODULE, remove_user, ?SEQ).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(remove_user, Host, ?MODULE, remove_user, ?SEQ),
    mod_warder_child:stop(?MODULE, Host).

%% @private On disk when it has come back; it waits for no worker.
-spec remove_user(binary(), binary()) -> ok.
remove_user(User, Server) ->
    LServer = jid:nameprep(Server),
    case context(LServer) of
        none ->
            ok;
        _ ->
            try
                gen_server:call(process(LServer), {removed, jid:nodeprep(User)}, ?CALL_TIMEOUT_MS)
            catch
                exit:Reason -> ?ERROR_MSG("The removal of ~ts@~ts may be lost: ~p", [User, Server, Reason])
            end
    end.

%% Of a host whose removals are told.
context(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{checks := #{?OPERATION := true}}} = Context} -> Context;
        _ -> none
    end.

%% @doc Whether a session on this host may have to wait.
-spec is_on(LServer :: binary()) -> boolean().
is_on(LServer) ->
    case context(LServer) of
        #{settings := #{roster := IsOn}} -> IsOn;
        none -> false
    end.

%% @doc Whether a session of this account may open: not before all removals of accounts of its name are told, on whatever
%% node they were. Another try is made at once, out of turn; takes as long as a question may.
-spec admit(LUser :: binary(), LServer :: binary(), Lang :: binary()) -> allow | {refuse, stanza_error()}.
admit(LUser, LServer, Lang) ->
    case is_on(LServer) andalso are_told(LUser, LServer) of
        not_told ->
            ?WARNING_MSG("~ts@~ts was made again before its removal could be told; it has to wait", [LUser, LServer]),
            {refuse, xmpp:err_resource_constraint(<<"This account is not ready yet; try again later">>, Lang)};
        _ ->
            allow
    end.

are_told(LUser, LServer) ->
    #{settings := #{budgets_ms := #{?OPERATION := BudgetMs}}} = context(LServer),
    TimeoutMs = BudgetMs + ?SLACK_MS,
    case ejabberd_cluster:get_nodes() of
        [_] ->
            await(LUser, LServer, TimeoutMs);
        Nodes ->
            %% A node that does not answer may be gone for good; the successors of its accounts are not to wait for that.
            Answers = erpc:multicall(Nodes, ?MODULE, await, [LUser, LServer, TimeoutMs], TimeoutMs + ?SLACK_MS),
            case lists:member({ok, not_told}, Answers) of
                true -> not_told;
                false -> told
            end
    end.

%% @private Of removals on this node.
-spec await(binary(), binary(), pos_integer()) -> told | not_told.
await(LUser, LServer, TimeoutMs) ->
    try
        gen_server:call(process(LServer), {await, LUser}, TimeoutMs)
    catch
        exit:{noproc, _} -> told;
        exit:_ -> not_told
    end.

process(LServer) -> mod_warder_child:process(?MODULE, LServer).

%% @private
init(Host) ->
    process_flag(trap_exit, true),
    ok = mod_warder_removals:open(),
    Stored = mod_warder_removals:of_host(Host),
    SpreadMs = 1000 + length(Stored) * 1000 div ?TRIES_A_SECOND,
    TakeUp = fun({Id, LUser}, State) -> try_in(rand:uniform(SpreadMs), Id, #removal{user = LUser}, State) end,
    {ok, lists:foldl(TakeUp, #state{host = Host}, Stored)}.

%% @private
handle_call({removed, LUser}, From, #state{host = Host, waiting = Waiting} = State) ->
    Id = base64:encode(crypto:strong_rand_bytes(18)),
    case map_size(Waiting) < ?MAX_WAITING of
        true ->
            ok = mod_warder_removals:store(Id, LUser, Host),
            {noreply, tell(Id, #removal{user = LUser}, once_synced(fun() -> gen_server:reply(From, ok) end, State))};
        false ->
            ?ERROR_MSG("~b removals wait to be acknowledged; that of ~ts@~ts is told only once", [
                map_size(Waiting), LUser, Host
            ]),
            {reply, ok, tell(Id, #removal{user = LUser, is_stored = false}, State)}
    end;
handle_call({await, LUser}, From, #state{blocked = Blocked} = State) ->
    case of_user(LUser, State) of
        [] ->
            {reply, told, State};
        Removals ->
            Held = State#state{blocked = Blocked#{LUser => [From | maps:get(LUser, Blocked, [])]}},
            {noreply, lists:foldl(fun({Id, Removal}, Telling) -> tell(Id, Removal, Telling) end, Held, Removals)}
    end.

%% @private
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
handle_info(sync, #state{unsynced = Unsynced} = State) ->
    ok = mod_warder_removals:sync(),
    lists:foreach(fun(Do) -> Do() end, lists:reverse(Unsynced)),
    {noreply, State#state{unsynced = []}};
handle_info({timeout, Timer, Id}, #state{waiting = Waiting} = State) ->
    case Waiting of
        #{Id := #removal{timer = Timer} = Removal} -> {noreply, tell(Id, Removal, State)};
        _ -> {noreply, State}
    end;
handle_info({'EXIT', Pid, Reason}, #state{telling = Telling, waiting = Waiting} = State) ->
    case Telling of
        #{Pid := Id} ->
            Removal = maps:get(Id, Waiting),
            {noreply, answered(outcome(Reason), Id, Removal, State#state{telling = maps:remove(Pid, Telling)})};
        _ ->
            {noreply, State}
    end;
handle_info(_Other, State) ->
    {noreply, State}.

%% @private
terminate(_Reason, _State) ->
    mod_warder_removals:close().

%% One time for all that is in the mailbox already.
once_synced(Do, #state{unsynced = Unsynced} = State) ->
    Unsynced =:= [] andalso (self() ! sync),
    State#state{unsynced = [Do | Unsynced]}.

try_in(DelayMs, Id, Removal, #state{waiting = Waiting} = State) ->
    Timer = erlang:start_timer(DelayMs, self(), Id),
    State#state{waiting = Waiting#{Id => Removal#removal{timer = Timer}}}.

tell(Id, #removal{user = LUser} = Removal, #state{host = Host, waiting = Waiting, telling = Telling} = State) ->
    case Waiting of
        #{Id := #removal{timer = none}} ->
            State;
        _ ->
            Pid = spawn_link(fun() -> exit({told, ask(Id, LUser, Host)}) end),
            State#state{waiting = Waiting#{Id => Removal#removal{timer = none}}, telling = Telling#{Pid => Id}}
    end.

ask(Id, LUser, LServer) ->
    case context(LServer) of
        none ->
            {error, disconnected};
        Context ->
            User = <<LUser/binary, $@, LServer/binary>>,
            mod_warder_decide:fetch(Context, ?OPERATION, #{<<"user">> => User}, #{id => Id})
    end.

outcome({told, Outcome}) -> Outcome;
outcome(_Crash) -> {error, crashed}.

answered({ok, #{forgotten := Forgotten}}, Id, #removal{user = LUser}, #state{host = Host} = State) ->
    Word =
        case Forgotten of
            true -> forgotten;
            false -> unknown
        end,
    count(fun(Context) -> mod_warder_decide:answered(Context, ?OPERATION, Word) end, Host),
    settled(Id, LUser, fun() -> ?INFO_MSG("user-removed: ~ts@~ts", [LUser, Host]) end, State);
answered({error, Failure}, Id, #removal{user = LUser, is_stored = IsStored}, #state{host = Host} = State)
    %% No other try would go better.
    when Failure =:= bad_request; Failure =:= too_large; not IsStored
->
    count(fun(Context) -> mod_warder_decide:failed(Context, ?OPERATION, Failure, given_up) end, Host),
    Word = warder_ask:failure_word(Failure),
    Log = fun() -> ?ERROR_MSG("user-removed of ~ts@~ts failed for good: ~ts", [LUser, Host, Word]) end,
    settled(Id, LUser, Log, State);
answered({error, Failure}, Id, #removal{user = LUser, tries = Tries} = Removal, #state{host = Host} = State) ->
    count(fun(Context) -> mod_warder_decide:failed(Context, ?OPERATION, Failure, told_again) end, Host),
    release(LUser, not_told, try_in(delay_ms(Tries), Id, Removal#removal{tries = Tries + 1}, State)).

settled(Id, LUser, Log, #state{waiting = Waiting, blocked = Blocked} = State) ->
    ok = mod_warder_removals:forget(Id),
    Left = once_synced(Log, State#state{waiting = maps:remove(Id, Waiting)}),
    case is_map_key(LUser, Blocked) andalso of_user(LUser, Left) of
        [] -> release(LUser, told, Left);
        _ -> Left
    end.

of_user(LUser, #state{waiting = Waiting}) ->
    [{Id, Removal} || {Id, #removal{user = User} = Removal} <- maps:to_list(Waiting), User =:= LUser].

release(LUser, Word, #state{blocked = Blocked} = State) ->
    [gen_server:reply(From, Word) || From <- maps:get(LUser, Blocked, [])],
    State#state{blocked = maps:remove(LUser, Blocked)}.

%% By up to half, so that what failed together is not tried together.
delay_ms(Tries) ->
    DelayMs = min(?LONGEST_DELAY_MS, ?FIRST_DELAY_MS bsl min(Tries - 1, 16)),
    DelayMs div 2 + rand:uniform(DelayMs div 2).

count(Count, LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, Context} -> Count(Context);
        none -> ok
    end.
