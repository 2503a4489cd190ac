%%% Warder: asks policy workers over NATS whether stanzas, joins and sessions may pass, and where rosters are kept.
%%% This module puts the parts together; each part's own file says what it does.
-module(mod_warder).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_opt_type/1, mod_options/1, mod_doc/0]).

%% In the order in which they are started. Each has start(Host) and stop(Host), and reload(Host) where it keeps something
%% that follows from the host's options: what a handler looks up by mod_warder_hosts when it is called needs none.
-define(PARTS, [
    mod_warder_stanza, mod_warder_join, mod_warder_session, mod_warder_roster, mod_warder_roster_set,
    mod_warder_subscriptions, mod_warder_delimiter, mod_warder_removed, mod_warder_push_turns
]).

%% Of the whole node, while any host has the module: {Hook, Module, Function, Seq}.
-define(GLOBAL_HOOKS, [
    {filter_packet, mod_warder_stanza, filter_packet, 60},
    {component_send_packet, mod_warder_line, component_send_packet, 100}
]).

%% @doc See {@link gen_mod}.
-spec start(binary(), gen_mod:opts()) -> ok.
start(Host, Options) ->
    ok = mod_warder_report:start(),
    ok = mod_warder_hosts:put(Host, Options),
    lists:foreach(fun(Part) -> ok = Part:start(Host) end, ?PARTS),
    settle_node().

-spec stop(binary()) -> ok.
stop(Host) ->
    lists:foreach(fun(Part) -> ok = Part:stop(Host) end, lists:reverse(?PARTS)),
    ok = mod_warder_hosts:remove(Host),
    settle_node().

%% What the node has while any host has the module. Each is added once, however often it is added.
settle_node() ->
    mod_warder_hosts:alone(fun() ->
        case mod_warder_hosts:list() of
            [] ->
                _ = [ejabberd_hooks:delete(Hook, Part, Name, Seq) || {Hook, Part, Name, Seq} <- ?GLOBAL_HOOKS],
                mod_warder_stats:unregister_command();
            _ ->
                _ = [ejabberd_hooks:add(Hook, Part, Name, Seq) || {Hook, Part, Name, Seq} <- ?GLOBAL_HOOKS],
                mod_warder_stats:register_command()
        end
    end),
    mod_warder_report:settle().

-spec reload(binary(), gen_mod:opts(), gen_mod:opts()) -> ok.
reload(Host, NewOptions, _OldOptions) ->
    ok = mod_warder_hosts:put(Host, NewOptions),
    Reloaded = [Part || Part <- ?PARTS, erlang:function_exported(Part, reload, 1)],
    lists:foreach(fun(Part) -> ok = Part:reload(Host) end, Reloaded),
    mod_warder_report:settle().

-spec depends(binary(), gen_mod:opts()) -> [{module(), hard | soft}].
depends(_Host, #{roster := true}) ->
    [{mod_roster, hard}];
depends(_Host, _Options) ->
    [].

-spec mod_opt_type(atom()) -> econf:validator().
mod_opt_type(Option) ->
    mod_warder_options:type(Option).

-spec mod_options(binary()) -> [{atom(), term()}].
mod_options(_Host) ->
    mod_warder_options:defaults().

-spec mod_doc() ->
    #{desc := binary(), opts := [{atom(), #{value => string(), desc => binary()}}], example := [string()]}.
mod_doc() ->
    #{
        desc => <<
            "Asks Warder's policy workers over NATS whether stanzas may pass, users may join rooms and sessions may begin, "
            "and takes rosters from them."
        >>,
        opts => mod_warder_options:docs(),
        example => [
            "modules:",
            "  mod_warder:",
            "    nats_url: nats://127.0.0.1:4222",
            "    checks: [stanza-check, join-check]",
            "    fallback:",
            "      stanza-check: allow",
            "      join-check: {local: deny, remote: deny}"
        ]
    }.
