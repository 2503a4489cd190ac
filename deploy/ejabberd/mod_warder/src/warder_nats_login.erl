%%% From a broker's name to a connection that is logged in: address, greeting, TLS, CONNECT, the first PONG. It waits for
%%% each, so it is for a process that has nothing else to do; each address has the whole time for itself.
-module(warder_nats_login).

-export([open/3]).
-export_type([options/0, connection/0, info/0]).

-type options() :: #{
    name := binary(),
    credentials := warder_nats_servers:credentials(),
    tls => warder_nats_tls:options(),
    connect_timeout := pos_integer(),
    send_timeout := pos_integer(),
    max_reply := pos_integer(),
    atom() => term()
}.
%% What the broker says of itself, as decoded from its JSON.
-type info() :: #{binary() => warder_json:value()}.
%% `socket' is the one below TLS too. `early': what came behind the login and has not been looked at.
-type connection() :: #{
    transport := warder_nats_writer:transport(),
    socket := gen_tcp:socket(),
    info := info(),
    parser := warder_nats_protocol:parser(),
    early := [warder_nats_protocol:operation()]
}.

%% What is in the system's buffer can no longer be taken back when the broker has stopped reading, so it is bounded.
-define(SEND_BUFFER, 262144).
-define(READ_BUFFER, 65536).

%% @doc Connects to one broker. `Lines' gives what is sent behind CONNECT, so that subscriptions stand before any request.
-spec open(warder_nats_servers:server(), options(), fun(() -> iodata())) -> {ok, connection()} | {error, binary()}.
open(#{host := Host} = Server, Options, Lines) ->
    case addresses(Host) of
        [] -> {error, <<"the host name has no address">>};
        Addresses -> try_each(Addresses, Server, Options, Lines)
    end.

addresses(Host) ->
    case inet:parse_address(Host) of
        {ok, Address} -> [Address];
        {error, einval} -> resolve(Host, inet) ++ resolve(Host, inet6)
    end.

resolve(Host, Family) ->
    case inet:getaddrs(Host, Family) of
        {ok, Addresses} -> Addresses;
        {error, _} -> []
    end.

%% Another address may help where one does not answer; where one does and refuses, none will.
try_each([Address | Others], #{port := Port} = Server, #{connect_timeout := Timeout} = Options, Lines) ->
    case gen_tcp:connect(Address, Port, socket_options(Address, Options), Timeout) of
        {ok, Socket} ->
            Deadline = erlang:monotonic_time(millisecond) + Timeout,
            try
                {ok, greet(Socket, Server, Options, Lines, Deadline)}
            catch
                throw:{login, Reason} ->
                    _ = gen_tcp:close(Socket),
                    {error, iolist_to_binary(Reason)}
            end;
        {error, _} when Others =/= [] ->
            try_each(Others, Server, Options, Lines);
        {error, Reason} ->
            {error, text(Reason)}
    end.

socket_options(Address, #{send_timeout := SendTimeout}) ->
    Family =
        case tuple_size(Address) of
            4 -> inet;
            8 -> inet6
        end,
    [
        Family,
        binary,
        {active, false},
        {packet, raw},
        {nodelay, true},
        {keepalive, true},
        {buffer, ?READ_BUFFER},
        {sndbuf, ?SEND_BUFFER},
        {send_timeout, SendTimeout},
        {send_timeout_close, true}
    ].

greet(Socket, Server, #{max_reply := MaxReply} = Options, Lines, Deadline) ->
    Parser = warder_nats_protocol:new(#{max_payload => MaxReply}),
    Plain = {gen_tcp, Socket},
    {Info, Parser1, Early} = await_info(Plain, Parser, Deadline),
    Wanted = maps:get(tls, Server) orelse maps:is_key(tls, Options),
    case {Wanted, offers_tls(Info)} of
        {true, none} ->
            throw({login, <<"TLS is required here and the server offers none">>});
        {_, Offer} when Wanted; Offer =:= required ->
            %% What came in clear behind the greeting would be taken for encrypted.
            Early =:= [] andalso warder_nats_protocol:is_clean(Parser1) orelse throw({login, <<"data before TLS">>}),
            Tls = {ssl, upgrade(Socket, Server, Options, Deadline)},
            login(Tls, Socket, Info, Parser1, [], Server, Options, Lines, Deadline);
        _ ->
            login(Plain, Socket, Info, Parser1, Early, Server, Options, Lines, Deadline)
    end.

offers_tls(#{<<"tls_required">> := true}) -> required;
offers_tls(#{<<"tls_available">> := true}) -> available;
offers_tls(_) -> none.

upgrade(Socket, #{tls_name := Name}, Options, Deadline) ->
    Tls = maps:get(tls, Options, #{}),
    case warder_nats_tls:upgrade(Socket, maps:get(hostname, Tls, Name), Tls, left(Deadline)) of
        {ok, Upgraded} -> Upgraded;
        {error, Reason} -> throw({login, [<<"TLS: ">>, text(Reason)]})
    end.

login(Transport, Socket, Info, Parser, Early, Server, Options, Lines, Deadline) ->
    Connect = warder_nats_protocol:connect(warder_json:encode(connect_options(Transport, Info, Server, Options))),
    write(Transport, [Connect, Lines(), warder_nats_protocol:ping()]),
    {Info1, Parser1, Early1} = await_pong(Transport, Parser, Early, Info, [], Deadline),
    #{transport => Transport, socket => Socket, info => Info1, parser => Parser1, early => Early1}.

connect_options({Module, _}, Info, #{credentials := Own}, #{credentials := General, name := Name}) ->
    %% Without these two an absent worker looks like a slow one.
    HasHeaders = maps:get(<<"headers">>, Info, false) =:= true,
    Credentials =
        case Own() of
            none -> General();
            Given -> Given
        end,
    maps:merge(account(Credentials), #{
        <<"verbose">> => false,
        <<"pedantic">> => false,
        <<"echo">> => true,
        <<"headers">> => HasHeaders,
        <<"no_responders">> => HasHeaders,
        <<"tls_required">> => Module =:= ssl,
        <<"name">> => Name,
        <<"lang">> => <<"erlang">>,
        <<"version">> => <<"1">>,
        <<"protocol">> => 1
    }).

account(none) -> #{};
account({user, User, Password}) -> #{<<"user">> => User, <<"pass">> => Password};
account({token, Token}) -> #{<<"auth_token">> => Token}.

await_info(Transport, Parser, Deadline) ->
    case read(Transport, Parser, Deadline) of
        {[], Parser1} ->
            await_info(Transport, Parser1, Deadline);
        {[{info, Json} | Early], Parser1} ->
            {info(Json), Parser1, Early};
        {_, _} ->
            throw({login, <<"this is not NATS: no greeting">>})
    end.

info(Json) ->
    case warder_json:decode(Json) of
        {ok, Info} when is_map(Info) -> Info;
        _ -> throw({login, <<"this is not NATS: malformed INFO">>})
    end.

await_pong(Transport, Parser, [pong | Operations], Info, Early, _Deadline) ->
    _ = Transport,
    {Info, Parser, lists:reverse(Early, Operations)};
await_pong(Transport, Parser, [{err, Text} | Operations], Info, Early, Deadline) ->
    case warder_nats_link:is_permission(Text) of
        true -> await_pong(Transport, Parser, Operations, Info, [{err, Text} | Early], Deadline);
        false -> throw({login, Text})
    end;
await_pong(Transport, Parser, [ping | Operations], Info, Early, Deadline) ->
    write(Transport, warder_nats_protocol:pong()),
    await_pong(Transport, Parser, Operations, Info, Early, Deadline);
await_pong(Transport, Parser, [{info, Json} | Operations], _Info, Early, Deadline) ->
    await_pong(Transport, Parser, Operations, info(Json), Early, Deadline);
await_pong(Transport, Parser, [Operation | Operations], Info, Early, Deadline) ->
    await_pong(Transport, Parser, Operations, Info, [Operation | Early], Deadline);
await_pong(Transport, Parser, [], Info, Early, Deadline) ->
    {Operations, Parser1} = read(Transport, Parser, Deadline),
    await_pong(Transport, Parser1, Operations, Info, Early, Deadline).

write({Module, Socket}, Bytes) ->
    case Module:send(Socket, Bytes) of
        ok -> ok;
        {error, Reason} -> throw({login, text(Reason)})
    end.

read({Module, Socket}, Parser, Deadline) ->
    case Module:recv(Socket, 0, left(Deadline)) of
        {ok, Bytes} ->
            case warder_nats_protocol:push(Bytes, Parser) of
                {ok, Operations, Parser1} -> {Operations, Parser1};
                {error, Reason, _} -> throw({login, [<<"this is not NATS: ">>, Reason]})
            end;
        {error, Reason} ->
            throw({login, text(Reason)})
    end.

left(Deadline) ->
    max(0, Deadline - erlang:monotonic_time(millisecond)).

text(Reason) when is_binary(Reason) -> Reason;
text(timeout) -> <<"no answer in time">>;
text(closed) -> <<"closed by the server">>;
text({tls_alert, {_, Text}}) -> unicode:characters_to_binary(Text);
text(Reason) when is_atom(Reason) -> list_to_binary(inet:format_error(Reason));
text(Reason) -> unicode:characters_to_binary(io_lib:format("~0p", [Reason])).
