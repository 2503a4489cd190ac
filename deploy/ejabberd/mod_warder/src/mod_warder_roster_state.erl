%%% The rosters of those who are online on this node, as they were last known; one process keeps the table, and each
%%% user's own process (mod_warder_roster_user) is the only one that changes his row. Whoever wants to know reads the
%%% table.
-module(mod_warder_roster_state).
-behaviour(gen_server).

-export([start_link/0, host_started/1, host_stopped/1]).
-export([claim/2, put/3, release/2]).
-export([get/2, is_online/2, item/3, is_pending/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% How long the rosters of a host outlive the module there: when it comes back, nobody's has to be missing meanwhile.
-define(KEPT_MS, 60_000).

-type user() :: {LUser :: binary(), LServer :: binary()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec host_started(LServer :: binary()) -> ok.
host_started(LServer) ->
    gen_server:call(?MODULE, {host_started, LServer}).

%% @doc His host's rosters are forgotten a while later, unless it starts again.
-spec host_stopped(LServer :: binary()) -> ok.
host_stopped(LServer) ->
    gen_server:call(?MODULE, {host_stopped, LServer}).

%% @doc From now on the caller is the one who changes this row. What is last known is taken over.
-spec claim(LUser :: binary(), LServer :: binary()) -> mod_warder_roster_items:roster() | none.
claim(LUser, LServer) ->
    Roster =
        case get(LUser, LServer) of
            {ok, Known} -> Known;
            none -> none
        end,
    true = ets:insert(?MODULE, {{LUser, LServer}, self(), Roster}),
    Roster.

%% @doc Whether it was still the caller's to change.
-spec put(LUser :: binary(), LServer :: binary(), mod_warder_roster_items:roster()) -> boolean().
put(LUser, LServer, Roster) ->
    User = {LUser, LServer},
    Row = {{{const, User}, {const, self()}, {const, Roster}}},
    ets:select_replace(?MODULE, [{{User, self(), '_'}, [], [Row]}]) =:= 1.

-spec release(LUser :: binary(), LServer :: binary()) -> ok.
release(LUser, LServer) ->
    true = ets:match_delete(?MODULE, {{LUser, LServer}, self(), '_'}),
    ok.

%% @doc The roster of a user who is online on this node.
-spec get(LUser :: binary(), LServer :: binary()) -> {ok, mod_warder_roster_items:roster()} | none.
get(LUser, LServer) ->
    case select({LUser, LServer}, [], '$1') of
        [#{} = Roster] -> {ok, Roster};
        _ -> none
    end.

%% @doc Whether he is online on this node; his roster may still be missing.
-spec is_online(LUser :: binary(), LServer :: binary()) -> boolean().
is_online(LUser, LServer) ->
    select({LUser, LServer}, [], true) =/= [].

%% @doc One contact of a user who is online on this node, for a fraction of what all of them cost. `none' where nothing
%% is known of the user or he has no such contact.
-spec item(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> mod_warder_roster_items:item() | none.
item(LUser, LServer, Contact) ->
    Items = {map_get, items, '$1'},
    case select({LUser, LServer}, [{is_map, '$1'}, {is_map_key, Contact, Items}], {map_get, Contact, Items}) of
        [Item] -> Item;
        [] -> none
    end.

%% @doc Whether the contact has asked to see the user, and waits for an answer.
-spec is_pending(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> boolean().
is_pending(LUser, LServer, Contact) ->
    select({LUser, LServer}, [{is_map, '$1'}, {is_map_key, Contact, {map_get, pending, '$1'}}], true) =/= [].

%% Without the process there is no table, and nobody is known.
-spec select(user(), [term()], term()) -> [term()].
select(User, Guards, Result) ->
    try
        ets:select(?MODULE, [{{User, '_', '$1'}, Guards, [Result]}])
    catch
        error:badarg -> []
    end.

%% @private
init([]) ->
    ?MODULE = ets:new(?MODULE, [named_table, public, set, {read_concurrency, true}, {write_concurrency, true}]),
    {ok, #{}}.

%% @private
handle_call({host_started, LServer}, _From, Stopped) ->
    {reply, ok, maps:remove(LServer, Stopped)};
handle_call({host_stopped, LServer}, _From, Stopped) ->
    Timer = erlang:start_timer(?KEPT_MS, self(), LServer),
    {reply, ok, Stopped#{LServer => Timer}}.

%% @private
handle_cast(_Request, Stopped) ->
    {noreply, Stopped}.

%% @private
handle_info({timeout, Timer, LServer}, Stopped) ->
    case Stopped of
        #{LServer := Timer} ->
            true = ets:match_delete(?MODULE, {{'_', LServer}, '_', '_'}),
            {noreply, maps:remove(LServer, Stopped)};
        _ ->
            {noreply, Stopped}
    end;
handle_info(_Other, Stopped) ->
    {noreply, Stopped}.
