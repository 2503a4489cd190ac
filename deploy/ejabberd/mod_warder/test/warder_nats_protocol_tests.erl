%%% What a broker may send, cut at every byte, and what is no NATS.
-module(warder_nats_protocol_tests).
-include_lib("eunit/include/eunit.hrl").

push_all(Pieces, Parser) ->
    lists:foldl(
        fun
            (_, {error, _, _} = Error) -> Error;
            (Piece, {ok, Done, P}) ->
                case warder_nats_protocol:push(Piece, P) of
                    {ok, More, Next} -> {ok, Done ++ More, Next};
                    Error -> Error
                end
        end,
        {ok, [], Parser},
        Pieces
    ).

stream() ->
    <<"INFO {\"a\":1}\r\nPING\r\nPONG\r\n+OK\r\n-ERR 'Authorization Violation'\r\nMSG s.a 12 5\r\nhel\r\n\r\nMSG s 1 _INBOX.x 0\r\n\r\n",
        "HMSG s 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHMSG s 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        "HMSG s 1 r 31 32\r\nNATS/1.0\r\nA:  b \r\nA: c\r\nbad\r\n\r\nx\r\n">>.

expected() ->
    M = fun(Extra) -> {msg, maps:merge(#{subject => <<"s">>, sid => <<"1">>, payload => <<>>}, Extra)} end,
    [
        {info, <<"{\"a\":1}">>}, ping, pong, ok, {err, <<"Authorization Violation">>},
        M(#{subject => <<"s.a">>, sid => <<"12">>, payload => <<"hel\r\n">>}),
        M(#{reply => <<"_INBOX.x">>}),
        M(#{payload => <<"hi">>, headers => []}),
        M(#{headers => [], status => 503}),
        M(#{reply => <<"r">>, payload => <<"x">>, headers => [{<<"A">>, <<"b">>}, {<<"A">>, <<"c">>}]})
    ].

all_at_once_test() ->
    ?assertMatch({ok, _, _}, warder_nats_protocol:push(stream(), warder_nats_protocol:new())),
    {ok, Operations, Parser} = warder_nats_protocol:push(stream(), warder_nats_protocol:new()),
    ?assertEqual(expected(), Operations),
    ?assert(warder_nats_protocol:is_clean(Parser)).

cut_at_every_byte_test() ->
    Stream = stream(),
    lists:foreach(
        fun(At) ->
            <<A:At/binary, B/binary>> = Stream,
            {ok, Operations, _} = push_all([A, B], warder_nats_protocol:new()),
            ?assertEqual(expected(), Operations)
        end,
        lists:seq(0, byte_size(Stream))
    ),
    {ok, Operations, _} = push_all([<<C>> || <<C>> <= Stream], warder_nats_protocol:new()),
    ?assertEqual(expected(), Operations).

too_large_is_skipped_and_not_kept_test() ->
    Parser = warder_nats_protocol:new(#{max_payload => 10}),
    Stream = <<"MSG s 1 11\r\n", (binary:copy(<<"x">>, 11))/binary, "\r\nPING\r\n">>,
    [
        begin
            {ok, Operations, _} = push_all(Pieces, Parser),
            ?assertMatch([{msg, #{oversize := true, payload := <<>>}}, ping], Operations)
        end
     || Pieces <- [[Stream], [<<C>> || <<C>> <= Stream]]
    ].

what_is_no_nats_is_an_error_test_() ->
    [
        ?_assertMatch({error, _, _}, warder_nats_protocol:push(Bytes, warder_nats_protocol:new(#{max_line => 100})))
     || Bytes <- [
            <<"HTTP/1.1 200 OK\r\n">>, <<"MSG s 1\r\n">>, <<"MSG s 1 -1\r\n">>, <<"MSG s 1 +1\r\n">>, <<"MSG s 1 99999999999\r\n">>,
            <<"MSG s 1 3000000000\r\n">>, <<"HMSG s 1 5 4\r\n">>, <<"HMSG s 1 4\r\n">>, <<"MSG s 1 1\r\nxy\r\n">>, <<"\r\n">>,
            binary:copy(<<"x">>, 101), <<(binary:copy(<<"x">>, 101))/binary, "\r\n">>
        ]
    ].

subjects_test() ->
    [?assert(warder_nats_protocol:is_subject(S)) || S <- [<<"a">>, <<"a.b">>, <<"$SRV.PING">>, <<"ü"/utf8>>]],
    Bad = [<<>>, <<".">>, <<"a.">>, <<".a">>, <<"a..b">>, <<"a b">>, <<"a\r\nb">>, <<"a\tb">>],
    [?assertNot(warder_nats_protocol:is_subject(S)) || S <- [<<"a.*">>, <<"a.>">> | Bad]],
    [?assert(warder_nats_protocol:is_pattern(S)) || S <- [<<"*">>, <<">">>, <<"a.*.b">>, <<"a.>">>]],
    [?assertNot(warder_nats_protocol:is_pattern(S)) || S <- [<<"a.>.b">>, <<"a*">> | Bad]].

headers_cannot_break_out_test() ->
    ?assertMatch({ok, _, _}, warder_nats_protocol:publish(<<"s">>, [], [{<<"A">>, <<"b">>}], <<>>)),
    [
        ?assertEqual({error, bad_header}, warder_nats_protocol:publish(<<"s">>, [], [H], <<>>))
     || H <- [{<<>>, <<"b">>}, {<<"A:">>, <<"b">>}, {<<"A b">>, <<>>}, {<<"A">>, <<"b\r\nC: d">>}]
    ].

urls_test() ->
    Read = fun(Url) ->
        {ok, Servers} = warder_nats_servers:new(Url),
        {#{credentials := Credentials} = Server, _} = warder_nats_servers:next(Servers),
        {warder_nats_servers:label(Server), maps:get(tls, Server), Credentials()}
    end,
    ?assertEqual({"h:4222", false, none}, Read(<<"h">>)),
    ?assertEqual({"h:1", true, {user, <<"u@x">>, <<"p:%/">>}}, Read(<<" tls://u%40x:p:%25%2f@h:1/ ">>)),
    ?assertEqual({"[::1]:5", false, {token, <<"t@k">>}}, Read("nats://t@k@[::1]:5")),
    [?assertMatch({error, _}, warder_nats_servers:new(U)) || U <- [<<>>, <<"http://h">>, <<"h:0">>, <<"h:65536">>, <<"a b">>, <<"nats://">>]].
