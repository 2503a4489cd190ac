%%% The brokers to connect to: URLs read, tried in random order, joined by those that a broker tells of. Does no I/O.
-module(warder_nats_servers).

-export([new/1, next/1, shuffle/1, shuffle/2, learn/3, label/1]).
-export_type([servers/0, server/0, credentials/0]).

%% A broker that tells of ever new addresses must not fill the memory.
-define(MAX_SERVERS, 64).
-define(DEFAULT_PORT, 4222).

-record(servers, {all = [] :: [server()], order = [] :: [server()]}).

-opaque servers() :: #servers{}.
%% A function, so that no log and no crash report can show what it holds.
-type credentials() :: fun(() -> none | {user, binary(), binary()} | {token, binary()}).
-type server() :: #{
    host := string(),
    port := inet:port_number(),
    tls := boolean(),
    tls_name := string(),
    credentials := credentials()
}.

%% @doc From a list of URLs, or several in one string with commas between them. The error names no password.
-spec new(binary() | string() | [binary() | string()]) -> {ok, servers()} | {error, Reason :: binary()}.
new(Urls) ->
    try lists:foldl(fun(Url, Known) -> add(parse(string:trim(Url)), Known) end, [], split(Urls)) of
        [] -> {error, <<"no NATS server is configured">>};
        All -> {ok, shuffle(#servers{all = lists:reverse(All)})}
    catch
        throw:{url, Reason} -> {error, iolist_to_binary(Reason)}
    end.

split(Urls) when is_binary(Urls) -> [Url || Url <- binary:split(Urls, <<",">>, [global]), string:trim(Url) =/= <<>>];
split([First | _] = Urls) when is_integer(First) -> split(unicode:characters_to_binary(Urls));
split(Urls) -> lists:flatmap(fun split/1, Urls).

add(Server, Known) ->
    case is_known(Server, Known) of
        true -> Known;
        false -> [Server | Known]
    end.

is_known(#{host := Host, port := Port}, Known) ->
    lists:any(fun(#{host := H, port := P}) -> H =:= Host andalso P =:= Port end, Known).

%% @doc The one to try now; none when all have been tried since the last {@link shuffle/1}.
-spec next(servers()) -> {server(), servers()} | none.
next(#servers{order = [Server | Order]} = Servers) -> {Server, Servers#servers{order = Order}};
next(#servers{order = []}) -> none.

-spec shuffle(servers()) -> servers().
shuffle(#servers{all = All} = Servers) ->
    Servers#servers{order = [Server || {_, Server} <- lists:sort([{rand:uniform(), Server} || Server <- All])]}.

%% @doc Starts over; the server that has just been lost is tried after the others.
-spec shuffle(servers(), Last :: server()) -> servers().
shuffle(Servers, Last) ->
    #servers{order = Order} = shuffle(Servers),
    {Lost, Others} = lists:partition(fun(Server) -> is_known(Server, [Last]) end, Order),
    Servers#servers{order = Others ++ Lost}.

%% @doc What one member of a cluster says of the others. Their certificates carry names, where these are often addresses,
%% so the name and the credentials stay those of the server that told.
-spec learn([binary()], From :: server(), servers()) -> servers().
learn(Urls, From, Servers) ->
    lists:foldl(fun(Url, Known) -> learn_one(Url, From, Known) end, Servers, Urls).

learn_one(Url, #{tls := Tls, tls_name := Name, credentials := Credentials}, #servers{all = All} = Servers) ->
    try parse(Url) of
        #{host := Host} = Parsed ->
            Server = Parsed#{tls := Tls, credentials := Credentials, tls_name := told_name(Host, Name)},
            case length(All) < ?MAX_SERVERS andalso not is_known(Server, All) of
                true -> Servers#servers{all = All ++ [Server]};
                false -> Servers
            end
    catch
        throw:{url, _} -> Servers
    end.

told_name(Host, Name) ->
    case inet:parse_address(Host) of
        {ok, _} -> Name;
        {error, einval} -> Host
    end.

%% @doc For people: never with credentials.
-spec label(server()) -> string().
label(#{host := Host, port := Port}) ->
    case lists:member($:, Host) of
        true -> lists:flatten(io_lib:format("[~s]:~b", [Host, Port]));
        false -> lists:flatten(io_lib:format("~s:~b", [Host, Port]))
    end.

%% One of nats://, tls:// or nothing; then user:password@ or token@; then a name, an address, or [an IPv6 address].
parse(Url) ->
    {Tls, Rest} = scheme(Url),
    {Credentials, Address} = credentials(string:trim(Rest, trailing, "/")),
    {Host, Port} = address(Address),
    #{host => Host, port => Port, tls => Tls, tls_name => Host, credentials => Credentials}.

scheme(Url) ->
    case binary:split(Url, <<"://">>) of
        [Rest] ->
            {false, Rest};
        [Scheme, Rest] ->
            case string:lowercase(Scheme) of
                <<"nats">> -> {false, Rest};
                <<"tls">> -> {true, Rest};
                _ -> throw({url, [<<"a NATS URL begins with nats:// or tls://, not with ">>, Scheme, <<"://">>]})
            end
    end.

%% A password may hold an @, a host cannot.
credentials(Text) ->
    case string:split(Text, <<"@">>, trailing) of
        [Address] ->
            {fun() -> none end, Address};
        [Given, Address] ->
            Credentials =
                case binary:split(Given, <<":">>) of
                    [User, Password] -> {user, decode(User), decode(Password)};
                    [Token] -> {token, decode(Token)}
                end,
            {fun() -> Credentials end, Address}
    end.

%% A percent sign that begins no escape stands for itself.
decode(<<$%, A, B, Rest/binary>>) ->
    try binary_to_integer(<<A, B>>, 16) of
        Byte -> <<Byte, (decode(Rest))/binary>>
    catch
        error:badarg -> <<$%, (decode(<<A, B, Rest/binary>>))/binary>>
    end;
decode(<<Byte, Rest/binary>>) ->
    <<Byte, (decode(Rest))/binary>>;
decode(<<>>) ->
    <<>>.

address(Address) ->
    Pattern = <<"^(?:\\[([0-9A-Fa-f:.]+)\\]|([^:\\s/\\[\\]]+))(?::([0-9]+))?$">>,
    case re:run(Address, Pattern, [{capture, all_but_first, list}]) of
        {match, [[], Host]} -> {Host, ?DEFAULT_PORT};
        {match, [Host]} -> {Host, ?DEFAULT_PORT};
        {match, [Six, Host, Port]} -> {Six ++ Host, port(list_to_integer(Port), Address)};
        nomatch -> no_address(Address)
    end.

port(Port, _Address) when Port > 0, Port < 65536 -> Port;
port(_, Address) -> no_address(Address).

no_address(Address) ->
    throw({url, [<<"not a NATS URL: ">>, Address, <<" (nats://host:4222 was expected)">>]}).
