%%% The options of one host: what they may be, their defaults, what they are for, and the settings that they come to, so
%%% that nobody else reads the configuration.
-module(mod_warder_options).

-export([type/1, defaults/0, docs/0, settings/1, connection/1]).
-export_type([settings/0, word/0, side/0]).

-type side() :: local | remote.
%% What is done when there is no answer.
-type word() :: allow | deny | defer | drop | last_known | error.
-type settings() :: #{
    checks := #{warder_operations:operation() => true},
    hooks := #{send | route | local | 'receive' | offline => true},
    kinds := #{message | presence | iq => true},
    budgets_ms := #{warder_operations:operation() => pos_integer()},
    fallback := #{warder_operations:operation() => #{side() => word()}},
    notify := boolean(),
    roster := boolean(),
    roster_delimiter := binary() | undefined,
    push_token := binary() | undefined,
    server := binary(),
    prefix := binary(),
    encoding := warder_codec:encoding(),
    max_stanza_bytes := non_neg_integer(),
    near_cache := boolean(),
    near_cache_entries := non_neg_integer(),
    staleness_bound_ms := pos_integer()
}.

-define(CHECKS, ['stanza-check', 'join-check', 'session-check', 'user-removed']).
-define(HOOKS, [send, route, local, 'receive', offline]).
-define(KINDS, [message, presence, iq]).
-define(FALLBACKS, [allow, deny, defer, drop]).
-define(ROSTER_FALLBACKS, ['last-known', error]).
%% Whoever changes a roster is told how it went.
-define(CHANGE_FALLBACKS, [allow, deny, defer]).
-define(MAX_ENTRIES, 10000000).
-define(MAX_TIMEOUT_MS, 60000).

-spec type(atom()) -> econf:validator().
type(nats_url) ->
    econf:and_then(econf:list_or_single(econf:binary()), fun urls/1);
type(Name) when Name =:= nats_user; Name =:= nats_password; Name =:= nats_token ->
    econf:binary();
type(nats_tls) ->
    map_or(econf:and_then(tls_files(), fun tls/1), econf:bool());
type(Name) when Name =:= nats_name; Name =:= server_name ->
    matching("^[^[:cntrl:]]{1,256}$", "a name of at most 256 characters");
type(nats_inbox) ->
    matching("^[A-Za-z0-9_-]+$", "letters, digits, _ and -");
type(Name) when Name =:= nats_ping_interval; Name =:= nats_connect_timeout; Name =:= nats_reconnect_max ->
    duration(1, 86400000);
type(checks) ->
    econf:list(econf:enum(?CHECKS), [unique]);
type(stanza_hooks) ->
    econf:list(econf:enum(?HOOKS), [unique]);
type(stanza_kinds) ->
    econf:list(econf:enum(?KINDS), [unique]);
type(timeouts) ->
    Operations = [binary_to_atom(warder_operations:slug(Operation)) || Operation <- warder_operations:all()],
    Types = maps:from_list([{Operation, duration(1, ?MAX_TIMEOUT_MS)} || Operation <- Operations]),
    econf:options(Types, [{return, map}, unique]);
type(fallback) ->
    econf:options(
        #{
            'stanza-check' => fallback(?FALLBACKS),
            'join-check' => fallback(?FALLBACKS),
            'session-check' => fallback(?FALLBACKS),
            'roster-refresh' => fallback(?ROSTER_FALLBACKS),
            'roster-set' => fallback(?CHANGE_FALLBACKS),
            'roster-subscription' => fallback(?CHANGE_FALLBACKS),
            'user-removed' => fun(_) -> wrong("user-removed has no fallback: nobody waits for its answer") end
        },
        [{return, map}, unique]
    );
type(Name) when Name =:= notify; Name =:= roster; Name =:= near_cache ->
    econf:bool();
type(roster_delimiter) ->
    matching("^[^[:cntrl:]]{1,64}$", "a text of at most 64 characters");
type(push_token) ->
    %% RFC 6750, section 2.1.
    secret("^[A-Za-z0-9._~+/-]+=*$", "letters, digits and any of -._~+/ and =");
type(subject_prefix) ->
    matching("^[^\\s[:cntrl:]*>.]+(\\.[^\\s[:cntrl:]*>.]+)*$", "a NATS subject without wildcards");
type(encoding) ->
    econf:enum([messagepack, json]);
type(max_stanza_size) ->
    econf:non_neg_int();
type(near_cache_entries) ->
    econf:int(0, ?MAX_ENTRIES);
type(staleness_bound) ->
    duration(200, 60000).

wrong(Text) ->
    econf:fail({invalid_syntax, Text}).

matching(Pattern, Right) ->
    econf:and_then(econf:binary(), fun(Text) ->
        case re:run(Text, Pattern, [{capture, none}, unicode, dollar_endonly]) of
            match -> Text;
            nomatch -> wrong(["'", Text, "' should be ", Right])
        end
    end).

%% What it says wrongly is not shown.
secret(Pattern, Right) ->
    econf:and_then(econf:binary(), fun(Text) ->
        case re:run(Text, Pattern, [{capture, none}, dollar_endonly]) of
            match -> Text;
            nomatch -> wrong(["it should be ", Right])
        end
    end).

%% Milliseconds. A number without a unit is seconds, as everywhere in ejabberd's configuration.
duration(Min, Max) ->
    fun(Given) ->
        Milliseconds = milliseconds(Given),
        case Milliseconds >= Min andalso Milliseconds =< Max of
            true -> Milliseconds;
            false -> wrong(io_lib:format("~b ms should be from ~b ms to ~b ms", [Milliseconds, Min, Max]))
        end
    end.

milliseconds(Given) when is_number(Given) ->
    ceil(Given * 1000);
%% What has no quotes in the file comes as an atom.
milliseconds(Given) when is_atom(Given) ->
    milliseconds(atom_to_binary(Given));
milliseconds(Given) ->
    case is_binary(Given) andalso re:run(Given, "^\\s*[0-9]+\\s*[a-z]*\\s*$", [{capture, none}, caseless]) of
        match -> (econf:timeout(millisecond))(Given);
        false -> wrong("it should be a time, such as 250 ms or 1 s");
        nomatch -> wrong(["'", Given, "' should be a time, such as 250 ms or 1 s"])
    end.

%% Not either/2: what is no map is wrong as a word, and is to be told as one.
fallback(Words) ->
    Word = econf:enum(Words),
    map_or(econf:options(#{local => Word, remote => Word}, [{return, map}, unique]), fun(Given) ->
        Known = Word(Given),
        #{local => Known, remote => Known}
    end).

map_or(Map, Other) ->
    fun
        ([{_, _} | _] = Given) -> Map(Given);
        (Given) -> Other(Given)
    end.

%% What is said of a URL names no password.
urls(Urls) ->
    case warder_nats_servers:new(Urls) of
        {ok, _} -> Urls;
        {error, Reason} -> wrong(Reason)
    end.

tls_files() ->
    econf:options(
        #{ca_file => econf:file(), cert_file => econf:file(), key_file => econf:file(), hostname => econf:string()},
        [{return, map}, unique]
    ).

tls(Files) ->
    case maps:is_key(cert_file, Files) =:= maps:is_key(key_file, Files) of
        true -> Files;
        false -> wrong("cert_file and key_file belong together")
    end.

-spec defaults() -> [{atom(), term()}].
defaults() ->
    [
        {nats_url, [<<"nats://127.0.0.1:4222">>]},
        {nats_user, undefined},
        {nats_password, undefined},
        {nats_token, undefined},
        {nats_tls, false},
        {nats_name, <<"warder-ejabberd">>},
        {nats_inbox, <<"ejabberd">>},
        {nats_ping_interval, 5000},
        {nats_connect_timeout, 5000},
        {nats_reconnect_max, 5000},
        {checks, ?CHECKS},
        {stanza_hooks, [send, route]},
        {stanza_kinds, [message]},
        {timeouts, #{}},
        {fallback, #{}},
        {notify, false},
        {roster, false},
        {roster_delimiter, undefined},
        {push_token, undefined},
        {server_name, undefined},
        {subject_prefix, <<"xmpp.policy.v1">>},
        {encoding, messagepack},
        {max_stanza_size, 65536},
        {near_cache, true},
        {near_cache_entries, 50000},
        {staleness_bound, 2000}
    ].

default_budgets() ->
    #{
        stanza_check => 250,
        join_check => 1000,
        session_check => 1000,
        roster_refresh => 5000,
        roster_set => 1000,
        roster_subscription => 1000,
        user_removed => 5000
    }.

default_fallback() ->
    #{
        stanza_check => #{local => allow, remote => allow},
        join_check => #{local => deny, remote => deny},
        session_check => #{local => allow, remote => allow},
        roster_refresh => #{local => last_known, remote => last_known},
        roster_set => #{local => defer, remote => defer},
        roster_subscription => #{local => defer, remote => defer}
    }.

%% @doc What the module's options, as ejabberd has validated them, come to.
-spec settings(gen_mod:opts()) -> settings().
settings(Options) ->
    #{fallback := Fallback, timeouts := Timeouts, near_cache := NearCache, near_cache_entries := Entries} = Options,
    #{
        checks => maps:from_keys([operation(Check) || Check <- maps:get(checks, Options)], true),
        hooks => maps:from_keys(maps:get(stanza_hooks, Options), true),
        kinds => maps:from_keys(maps:get(stanza_kinds, Options), true),
        budgets_ms => maps:merge(default_budgets(), by_operation(Timeouts, fun(Budget) -> Budget end)),
        fallback => merge_sides(by_operation(Fallback, fun(Sides) -> maps:map(fun word/2, Sides) end)),
        notify => maps:get(notify, Options),
        roster => maps:get(roster, Options),
        roster_delimiter => maps:get(roster_delimiter, Options),
        push_token => maps:get(push_token, Options),
        server => server(maps:get(server_name, Options)),
        prefix => maps:get(subject_prefix, Options),
        encoding => maps:get(encoding, Options),
        max_stanza_bytes => maps:get(max_stanza_size, Options),
        near_cache => NearCache andalso Entries > 0,
        near_cache_entries => Entries,
        staleness_bound_ms => maps:get(staleness_bound, Options)
    }.

server(undefined) -> atom_to_binary(node());
server(Name) -> Name.

operation(Word) ->
    {ok, Operation} = warder_operations:from_slug(atom_to_binary(Word)),
    Operation.

by_operation(Given, Value) ->
    maps:from_list([{operation(Word), Value(One)} || {Word, One} <- maps:to_list(Given)]).

word(_Side, 'last-known') -> last_known;
word(_Side, Word) -> Word.

merge_sides(Given) ->
    maps:map(fun(Operation, Sides) -> maps:merge(Sides, maps:get(Operation, Given, #{})) end, default_fallback()).

%% @doc Of the connection, as warder_nats takes them. They hold passwords.
-spec connection(gen_mod:opts()) -> warder_nats:options().
connection(Options) ->
    Names = #{
        nats_url => servers,
        nats_user => user,
        nats_password => password,
        nats_token => token,
        nats_name => name,
        nats_inbox => inbox,
        nats_ping_interval => ping_interval,
        nats_connect_timeout => connect_timeout,
        nats_reconnect_max => reconnect_max
    },
    Given = [{Name, maps:get(Option, Options)} || {Option, Name} <- maps:to_list(Names)],
    Tls =
        case maps:get(nats_tls, Options) of
            false -> #{};
            true -> #{tls => #{}};
            Files -> #{tls => Files}
        end,
    maps:merge(Tls, maps:from_list([{Name, Value} || {Name, Value} <- Given, Value =/= undefined])).

%% @doc For `mod_doc'.
-spec docs() -> [{atom(), #{value => string(), desc => binary()}}].
docs() ->
    [
        {Name, #{value => Value, desc => unicode:characters_to_binary(Text)}}
     || {Name, Value, Text} <- [
            {nats_url, "URL | [URL, ...]", "The NATS servers, `nats://` or `tls://`."},
            {nats_user, "Name", "Who to log in as; with `nats_password`."},
            {nats_password, "Password", "The password of `nats_user`."},
            {nats_token, "Token", "In place of a user and a password."},
            {nats_tls, "true | Files",
                "Require TLS of every server; `ca_file`, `cert_file`, `key_file` and `hostname` may be given."},
            {nats_name, "Name", "How NATS lists the connection."},
            {nats_inbox, "Name", "Replies come under `_INBOX.Name`."},
            {nats_ping_interval, "timeout()", "How often a silent connection is tried."},
            {nats_connect_timeout, "timeout()", "How long a NATS server may take to answer a login."},
            {nats_reconnect_max, "timeout()", "The longest pause between two attempts to connect."},
            {checks, "[Check, ...]",
                "What is asked about: `stanza-check`, `join-check`, `session-check`, `user-removed`; all by default."},
            {stanza_hooks, "[Hook, ...]",
                "Where stanzas are checked: `send`, `route`, `local`, `receive`, `offline`. Default: `[send, route]`."},
            {stanza_kinds, "[Kind, ...]", "Which are checked: `message`, `presence`, `iq`. Default: `[message]`."},
            {timeouts, "{Operation: timeout()}",
                "How long an answer is waited for, up to a minute: `stanza-check` 250 ms, `roster-refresh` and "
                "`user-removed` 5 s, the others 1 s."},
            {fallback, "{Operation: Word | {local: Word, remote: Word}}",
                "What happens without an answer: `allow`, `deny`, `defer` or `drop`; for `roster-refresh` `last-known` "
                "or `error`. For all alike, or for users of this server and those of others. By default joins are "
                "denied, messages and sessions are allowed, and changes of rosters are refused for now."},
            {notify, "true | false", "Tell the recipient what the answer says he may be told."},
            {roster, "true | false", "Rosters come from Warder's workers."},
            {roster_delimiter, "Text", "Between the names of nested groups (XEP-0083)."},
            {push_token, "Token", "What web requests for a flush or a refresh have to bring."},
            {server_name, "Name", "What workers and operators see of this node; by default the node's name."},
            {subject_prefix, "Prefix", "What the subjects on NATS begin with. Default: `xmpp.policy.v1`."},
            {encoding, "messagepack | json", "How questions are written."},
            {max_stanza_size, "Bytes", "A larger stanza is asked about without its text. Default: 65536."},
            {near_cache, "true | false", "Remember answers until something changes."},
            {near_cache_entries, "Number", "How many, up to ten million; 0 for none. Default: 50000."},
            {staleness_bound, "timeout()",
                "What was not proved to be fresh within this time is asked for again: 200 ms to a minute. "
                "Default: 2 s."}
        ]
    ].
