%%% What warder_nats may be told about its connection: defaults, and what makes no sense.
-module(warder_nats_options).

-export([read/1]).

-define(NUMBERS, [ping_interval, ping_max, connect_timeout, send_timeout, reconnect_min, reconnect_max, max_unsent, max_reply]).

%% @doc The servers are taken out, because their URLs may hold passwords; the other passwords stand behind a function, so
%% that no log and no crash report shows them.
-spec read(warder_nats:options() | fun(() -> warder_nats:options())) ->
    {ok, warder_nats_servers:servers(), map()} | {error, binary()}.
read(Read) when is_function(Read, 0) ->
    read(Read());
read(Given) ->
    Options = maps:merge(defaults(), Given),
    Unknown = maps:keys(maps:without(known(), Options)),
    case {Unknown, [Key || Key <- ?NUMBERS, not is_over_zero(maps:get(Key, Options))]} of
        {[], []} -> read_servers(Options);
        {[Key | _], _} -> {error, iolist_to_binary(io_lib:format("there is no option ~0p", [Key]))};
        {_, [Key | _]} -> {error, iolist_to_binary(io_lib:format("~s must be a whole number over 0", [Key]))}
    end.

defaults() ->
    #{
        servers => <<"nats://127.0.0.1:4222">>,
        name => <<"warder-erlang">>,
        inbox => <<"erlang">>,
        ping_interval => 5000,
        ping_max => 2,
        connect_timeout => 5000,
        send_timeout => 10000,
        reconnect_min => 100,
        reconnect_max => 5000,
        max_unsent => 8388608,
        max_reply => 4194304
    }.

known() ->
    [user, password, token, tls | maps:keys(defaults())].

is_over_zero(Value) ->
    is_integer(Value) andalso Value > 0.

read_servers(#{servers := Urls, inbox := Inbox, name := Name} = Options) ->
    case {re:run(Inbox, <<"^[A-Za-z0-9_-]+$">>), warder_nats_servers:new(Urls), credentials(Options), tls(Options)} of
        {nomatch, _, _, _} ->
            {error, <<"the inbox name may contain letters, digits, _ and - only">>};
        {_, {error, Reason}, _, _} ->
            {error, Reason};
        {_, _, _, {error, Reason}} ->
            {error, Reason};
        {{match, _}, {ok, Servers}, Credentials, ok} ->
            Kept = maps:without([servers, user, password, token], Options),
            Named = Kept#{
                name := unicode:characters_to_binary(Name),
                inbox := unicode:characters_to_binary(Inbox),
                credentials => fun() -> Credentials end
            },
            {ok, Servers, Named}
    end.

credentials(#{user := User} = Options) ->
    {user, unicode:characters_to_binary(User), unicode:characters_to_binary(maps:get(password, Options, <<>>))};
credentials(#{token := Token}) ->
    {token, unicode:characters_to_binary(Token)};
credentials(_) ->
    none.

%% A misspelt ca_file must not come to mean that any authority will do.
tls(#{tls := Tls}) when is_map(Tls) ->
    case maps:keys(maps:without([ca_file, cert_file, key_file, hostname], Tls)) of
        [] ->
            case maps:is_key(cert_file, Tls) =:= maps:is_key(key_file, Tls) of
                true -> ok;
                false -> {error, <<"tls needs cert_file and key_file together">>}
            end;
        [Key | _] ->
            {error, iolist_to_binary(io_lib:format("tls knows no ~0p", [Key]))}
    end;
tls(#{tls := _}) ->
    {error, <<"tls must be a map">>};
tls(_) ->
    ok.
