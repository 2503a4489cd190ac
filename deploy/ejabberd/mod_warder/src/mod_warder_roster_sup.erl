%%% What keeps rosters on this node, for all hosts: the table, the queue, the users' processes, and one process for
%%% each host that knows who is online. Stays once it was needed, so that rosters outlive a restart of the module.
-module(mod_warder_roster_sup).
-behaviour(supervisor).

-export([start_host/1, stop_host/1, start_user/3]).
-export([start_link/0, start_users/0, init/1]).

-define(USERS, mod_warder_roster_users).
-define(INTENSITY, 10).
-define(PERIOD_SECONDS, 10).

-spec start_host(Host :: binary()) -> ok.
start_host(Host) ->
    Node = #{id => ?MODULE, start => {?MODULE, start_link, []}, type => supervisor, shutdown => infinity},
    ok = started(supervisor:start_child(ejabberd_gen_mod_sup, Node)),
    ok = mod_warder_roster_state:host_started(Host),
    ok = mod_warder_roster_counts:start(Host),
    started(supervisor:start_child(?MODULE, #{id => Host, start => {mod_warder_roster_refresh, start_link, [Host]}})).

started({ok, _}) -> ok;
started({error, {already_started, _}}) -> ok.

-spec stop_host(Host :: binary()) -> ok.
stop_host(Host) ->
    _ = supervisor:terminate_child(?MODULE, Host),
    _ = supervisor:delete_child(?MODULE, Host),
    ok = mod_warder_roster_counts:stop(Host),
    mod_warder_roster_state:host_stopped(Host).

%% @doc See {@link mod_warder_roster_user:start_link/3}.
-spec start_user(Host :: pid(), LUser :: binary(), LServer :: binary()) -> {ok, pid()} | {error, term()}.
start_user(Host, LUser, LServer) ->
    supervisor:start_child(?USERS, [Host, LUser, LServer]).

%% @private
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, node).

%% @private
start_users() ->
    supervisor:start_link({local, ?USERS}, ?MODULE, users).

%% @private
init(node) ->
    Flags = #{strategy => rest_for_one, intensity => ?INTENSITY, period => ?PERIOD_SECONDS},
    {ok, {Flags, [
        #{id => state, start => {mod_warder_roster_state, start_link, []}},
        #{id => queue, start => {warder_roster_queue, start_link, []}},
        #{id => users, start => {?MODULE, start_users, []}, type => supervisor, shutdown => infinity}
    ]}};
init(users) ->
    %% Who crashes is started again by his host's process, which knows his sessions.
    User = #{id => user, start => {mod_warder_roster_user, start_link, []}, restart => temporary},
    {ok, {#{strategy => simple_one_for_one}, [User]}}.
