%%% A connection and who follows the changes by it, in the order in which they need each other: for an XMPP server's module
%%% to put under its own supervisor.
-module(warder_sup).
-behaviour(supervisor).

-export([start_link/2, child_spec/2]).
-export([init/1]).

%% More faults than that in so many seconds are the supervisor's own.
-define(INTENSITY, 10).
-define(PERIOD_SECONDS, 10).

%% @doc `Changes' has one entry for each subject prefix that is followed. The options of the connection may stand in a
%% function, see {@link warder_nats:start_link/2}.
-spec start_link({Client :: atom(), warder_nats:options() | fun(() -> warder_nats:options())}, [
    {Name :: atom(), warder_changes:options()}
]) -> supervisor:startlink_ret().
start_link(Client, Changes) ->
    supervisor:start_link(?MODULE, {Client, Changes}).

-spec child_spec({atom(), warder_nats:options() | fun(() -> warder_nats:options())}, [{atom(), warder_changes:options()}]) ->
    supervisor:child_spec().
child_spec({Name, _} = Client, Changes) ->
    #{id => {?MODULE, Name}, start => {?MODULE, start_link, [Client, Changes]}, type => supervisor}.

%% @private
init({{Client, Options}, Changes}) ->
    Flags = #{strategy => rest_for_one, intensity => ?INTENSITY, period => ?PERIOD_SECONDS},
    Children = [warder_nats:child_spec(Client, Options) | [warder_changes:child_spec(Name, Given) || {Name, Given} <- Changes]],
    {ok, {Flags, Children}}.
