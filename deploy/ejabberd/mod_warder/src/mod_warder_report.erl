%%% What this node reports of itself to the workers: what all its hosts together have decided, remembered and failed at, and
%%% how it stands. In a cluster each node does so for itself. When it is told is said in warder_reporter.
-module(mod_warder_report).

-export([start/0, settle/0]).
%% For the reporter.
-export([target/0, counts/0, gauges/0]).

%% The same as of the workers.
-define(VERSION, <<"0.1.0">>).

%% @doc Before anything is counted. Stays once it was needed: what was counted by a host is reported when it has gone, too.
-spec start() -> ok.
start() ->
    Options = #{
        kind => <<"ejabberd">>,
        version => ?VERSION,
        target => fun ?MODULE:target/0,
        counts => fun ?MODULE:counts/0,
        gauges => fun ?MODULE:gauges/0
    },
    Spec = #{id => ?MODULE, start => {warder_reporter, start_link, [?MODULE, Options]}},
    case supervisor:start_child(ejabberd_gen_mod_sup, Spec) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> ok
    end.

%% @doc A host was added or removed, or has other options.
-spec settle() -> ok.
settle() ->
    warder_reporter:settle(?MODULE).

%% @private Where hosts have several connections, one is enough.
-spec target() -> warder_reporter:target() | none.
target() ->
    case contexts() of
        [#{client := Client, settings := #{prefix := Prefix, server := Server, encoding := Encoding}} | _] ->
            #{client => Client, prefix => Prefix, name => Server, encoding => Encoding};
        [] ->
            none
    end.

contexts() ->
    [Context || Host <- lists:sort(mod_warder_hosts:list()), {ok, Context} <- [mod_warder_hosts:find(Host)]].

%% @private
-spec counts() -> warder_reporter:counts().
counts() ->
    Changes = lists:usort([Name || #{changes := Name} <- contexts()]),
    #{<<"operations">> => mod_warder_stats:counts(), <<"near_cache">> => warder_changes:counts(Changes)}.

%% @private
-spec gauges() -> #{binary() => number()}.
gauges() ->
    Contexts = contexts(),
    Clients = lists:usort([Client || #{client := Client} <- Contexts]),
    Near = lists:usort([
        {Changes, Max}
     || #{changes := Changes, settings := #{near_cache := true, near_cache_entries := Max}} <- Contexts
    ]),
    Rosters = [mod_warder_roster_refresh:stats(Host) || #{host := Host, settings := #{roster := true}} <- Contexts],
    Pending = lists:sum([maps:get(pending, warder_nats:stats(Client), 0) || Client <- Clients]),
    maps:merge(maps:merge(near_gauges(Near), roster_gauges(Rosters)), #{<<"pending">> => Pending}).

near_gauges([]) ->
    #{};
near_gauges(Near) ->
    #{
        <<"near_cache_entries">> => lists:sum([maps:get(entries, warder_changes:stats(Changes), 0) || {Changes, _} <- Near]),
        <<"near_cache_max">> => lists:sum([Max || {_, Max} <- Near])
    }.

roster_gauges([]) ->
    #{};
roster_gauges(Rosters) ->
    #{
        <<"rosters_online">> => lists:sum([maps:get(online, Stats, 0) || Stats <- Rosters]),
        <<"rosters_due">> => lists:sum([maps:get(due, Stats, 0) || Stats <- Rosters])
    }.
