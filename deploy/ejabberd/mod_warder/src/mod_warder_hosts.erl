%%% The hosts where Warder is: what each has to work with, and the connections and near caches that hosts with the same
%%% options share. Everybody reads; who starts, reloads or stops a host's module comes one after the other.
%%%
%%% What is shared belongs to the hosts that use it and is found through them: what no host names any more is stopped.
-module(mod_warder_hosts).

-export([find/1, list/0, put/2, remove/1, alone/1]).
%% For supervisors and what they start.
-export([start_connection/2, normalise/1]).
-export_type([context/0]).

-type context() :: #{
    host := binary(),
    settings := mod_warder_options:settings(),
    client := atom(),
    %% `none' where nothing is followed.
    changes := atom(),
    asker := warder_ask:asker(),
    stats := mod_warder_stats:stats()
}.

-define(SUPERVISOR, ejabberd_gen_mod_sup).
-define(END_MS, 5000).

%% @doc What the host has to work with; none where its module is not loaded.
-spec find(Host :: binary()) -> {ok, context()} | none.
find(Host) ->
    case persistent_term:get({?MODULE, Host}, none) of
        none -> none;
        Context -> {ok, Context}
    end.

%% @doc In no order.
-spec list() -> [binary()].
list() ->
    persistent_term:get(?MODULE, []).

%% @doc The module of a host was started, or its options are others now. What it shared under its earlier options goes
%% on where they are unchanged.
-spec put(Host :: binary(), gen_mod:opts()) -> ok.
put(Host, Options) ->
    alone(fun() ->
        Settings = mod_warder_options:settings(Options),
        Client = connect(mod_warder_options:connection(Options)),
        Changes = follow(Client, Settings),
        #{server := Server, prefix := Prefix, encoding := Encoding, max_stanza_bytes := MaxBytes} = Settings,
        Asker = warder_ask:new(#{
            client => Client,
            server => Server,
            prefix => Prefix,
            encoding => Encoding,
            max_stanza_bytes => MaxBytes,
            min_seq => fun() -> warder_changes:min_seq(Changes) end
        }),
        ok = persistent_term:put({?MODULE, Host}, #{
            host => Host,
            settings => Settings,
            client => Client,
            changes => Changes,
            asker => Asker,
            stats => mod_warder_stats:of_host(Host)
        }),
        ok = persistent_term:put(?MODULE, lists:usort([Host | list()])),
        release()
    end).

%% @doc The module of a host was stopped.
-spec remove(Host :: binary()) -> ok.
remove(Host) ->
    alone(fun() ->
        _ = persistent_term:erase({?MODULE, Host}),
        _ =
            case lists:delete(Host, list()) of
                [] -> persistent_term:erase(?MODULE);
                Others -> persistent_term:put(?MODULE, Others)
            end,
        release()
    end).

%% @doc While no other process of this node changes which hosts there are.
-spec alone(fun(() -> Result)) -> Result.
alone(Change) ->
    global:trans({?MODULE, self()}, Change, [node()]).

contexts() ->
    [Context || Host <- list(), {ok, Context} <- [find(Host)]].

%% One name for the same options, from which nobody learns the passwords in them.
connect(Options) ->
    Client = name(<<"warder_nats_">>, Options),
    Spec = #{
        id => {?MODULE, Client},
        start => {?MODULE, start_connection, [Client, fun() -> Options end]},
        type => supervisor,
        shutdown => infinity
    },
    case supervisor:start_child(?SUPERVISOR, Spec) of
        {ok, _} -> Client;
        {error, {already_started, _}} -> Client;
        {error, Reason} -> error({nats, Reason})
    end.

%% @private Started again, it follows what the hosts that use it need.
start_connection(Client, Options) ->
    Wanted = [changes(Client, Settings) || #{client := Used, settings := Settings} <- contexts(), Used =:= Client],
    Followed = lists:usort(Wanted) -- [none],
    lists:foreach(fun await_end/1, [Client | [Name || {Name, _} <- Followed]]),
    warder_sup:start_link({Client, Options}, Followed).

%% Who has lost his supervisor ends soon, but may still have his name. Failing because of that, again and again, would cost
%% the node.
await_end(Name) ->
    case whereis(Name) of
        undefined ->
            ok;
        Pid ->
            Ref = monitor(process, Pid),
            receive
                {'DOWN', Ref, process, _, _} -> ok
            after ?END_MS -> demonitor(Ref, [flush])
            end
    end.

follow(Client, Settings) ->
    case changes(Client, Settings) of
        none ->
            none;
        {Name, #{prefix := Prefix} = Options} ->
            %% Whoever takes over has seen what was seen before.
            Seen = [warder_changes:seen(Changes) || Changes <- followed(Client, Prefix)],
            Spec = warder_changes:child_spec(Name, Options#{floor => lists:max([0 | Seen])}),
            case supervisor:start_child(supervisor_of(Client), Spec) of
                {ok, _} -> Name;
                {error, {already_started, _}} -> Name
            end
    end.

%% Rosters need to hear of changes, too.
changes(_Client, #{near_cache := false, roster := false}) ->
    none;
changes(Client, #{prefix := Prefix, server := Server, near_cache_entries := Entries, staleness_bound_ms := BoundMs}) ->
    Options = #{
        client => Client,
        server => Server,
        normalise => fun ?MODULE:normalise/1,
        prefix => Prefix,
        bound_ms => BoundMs,
        max_entries => max(1, Entries)
    },
    {name(<<"warder_changes_">>, Options), Options}.

%% @private
normalise(Jid) ->
    jid:tolower(jid:decode(Jid)).

followed(Client, Prefix) ->
    lists:usort([
        Changes
     || #{client := Used, changes := Changes, settings := #{prefix := Given}} <- contexts(),
        Used =:= Client,
        Given =:= Prefix,
        Changes =/= none
    ]).

%% What no host names any more.
release() ->
    Contexts = contexts(),
    Clients = [Client || #{client := Client} <- Contexts],
    Followed = [Changes || #{changes := Changes} <- Contexts],
    lists:foreach(fun(Client) -> release(Client, lists:member(Client, Clients), Followed) end, connections()).

release(Client, IsUsed, Followed) ->
    Supervisor = supervisor_of(Client),
    Running = [Name || {Name, _, _, [warder_changes]} <- supervisor:which_children(Supervisor)],
    _ = IsUsed orelse stop(?SUPERVISOR, {?MODULE, Client}),
    lists:foreach(
        fun(Name) ->
            _ = IsUsed andalso stop(Supervisor, Name),
            ok = warder_changes:forget(Name)
        end,
        Running -- Followed
    ).

stop(Supervisor, Child) ->
    _ = supervisor:terminate_child(Supervisor, Child),
    supervisor:delete_child(Supervisor, Child).

connections() ->
    [Client || {{?MODULE, Client}, _, _, _} <- supervisor:which_children(?SUPERVISOR)].

supervisor_of(Client) ->
    {_, Pid, _, _} = lists:keyfind({?MODULE, Client}, 1, supervisor:which_children(?SUPERVISOR)),
    Pid.

%% The same for the same options for as long as the node runs, and nothing that the options could be guessed from.
name(Kind, Options) ->
    Digest = warder_secret:digest(term_to_binary(Options, [deterministic]), 6),
    binary_to_atom(<<Kind/binary, (binary:encode_hex(Digest))/binary>>).
