%%% TLS towards a broker: the connection upgraded, and the proof that the certificate is that of the host that was meant.
-module(warder_nats_tls).

-export([upgrade/4]).
-export_type([options/0]).

%% Paths of PEM files. Without an authority of its own, a broker is trusted as any web server is. `hostname' takes the
%% place of the name in the URL.
-type options() :: #{
    ca_file => file:name_all(), cert_file => file:name_all(), key_file => file:name_all(), hostname => string()
}.

-define(DEPTH, 9).

%% @doc Upgrades a socket that has been read up to the broker's greeting. On an error it is closed.
-spec upgrade(gen_tcp:socket(), string(), options(), timeout()) -> {ok, ssl:sslsocket()} | {error, term()}.
upgrade(Socket, Name, Options, Timeout) ->
    {ok, _} = application:ensure_all_started(ssl),
    Address = inet:parse_address(Name),
    case ssl:connect(Socket, ssl_options(Address, Name, Options), Timeout) of
        {ok, Tls} -> verify(Address, Tls);
        {error, Reason} -> {error, Reason}
    end.

ssl_options(Address, Name, Options) ->
    identity(Options) ++
        authorities(Options) ++
        names(Address, Name) ++
        [{verify, verify_peer}, {depth, ?DEPTH}, {versions, ['tlsv1.3', 'tlsv1.2']}].

identity(#{cert_file := Certificate, key_file := Key}) -> [{certfile, Certificate}, {keyfile, Key}];
identity(_) -> [].

authorities(#{ca_file := File}) -> [{cacertfile, File}];
authorities(_) -> [{cacerts, public_key:cacerts_get()}].

%% With a name the library compares it with the certificate's; an address is no name for it, and may not be sent as one.
names({ok, _}, _Name) ->
    [{server_name_indication, disable}];
names({error, einval}, Name) ->
    Match = public_key:pkix_verify_hostname_match_fun(https),
    [{server_name_indication, Name}, {customize_hostname_check, [{match_fun, Match}]}].

verify({error, einval}, Tls) ->
    {ok, Tls};
verify({ok, Address}, Tls) ->
    {ok, Certificate} = ssl:peercert(Tls),
    case public_key:pkix_verify_hostname(Certificate, [{ip, Address}]) of
        true ->
            {ok, Tls};
        false ->
            _ = ssl:close(Tls),
            {error, <<"the server's certificate is not for this address">>}
    end.
