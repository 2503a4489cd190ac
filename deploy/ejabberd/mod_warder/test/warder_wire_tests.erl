%%% The bytes that all sides of the wire agree on, through the hook's codec and its checks of replies. jiffy reads the file,
%%% so that an independent decoder says what they mean.
-module(warder_wire_tests).
-include_lib("eunit/include/eunit.hrl").

vectors() ->
    {ok, Text} = file:read_file(os:getenv("WARDER_VECTORS")),
    jiffy:decode(Text, [return_maps]).

vectors_test_() ->
    [{binary_to_list(maps:get(<<"name">>, Vector)), fun() -> check(Vector) end} || Vector <- vectors()].

check(#{<<"invalid">> := true} = Vector) ->
    Bytes =
        case Vector of
            #{<<"json">> := Json} -> Json;
            #{<<"messagepack">> := Hex} -> binary:decode_hex(Hex)
        end,
    ?assertMatch({error, _}, warder_codec:decode(Bytes));
check(#{<<"value">> := Value, <<"messagepack">> := Hex, <<"json">> := Json} = Vector) ->
    Expected = {ok, meant(Value)},
    ?assertEqual(Expected, warder_codec:decode(binary:decode_hex(Hex))),
    ?assertEqual(Expected, warder_codec:decode(Json)),
    Written = warder_codec:encode(meant(Value), messagepack),
    ?assertEqual(Expected, warder_codec:decode(Written)),
    ?assert(byte_size(Written) =< byte_size(Hex) div 2),
    WrittenJson = warder_codec:encode(meant(Value), json),
    ?assertEqual(Expected, warder_codec:decode(WrittenJson)),
    ?assertEqual(Expected, {ok, meant(jiffy:decode(WrittenJson, [return_maps]))}),
    check_reply(Vector, warder_codec:decode(Json)).

check_reply(#{<<"kind">> := <<"reply">>, <<"operation">> := Slug, <<"value">> := #{<<"id">> := Id}}, {ok, Reply}) ->
    {ok, Operation} = warder_operations:from_slug(Slug),
    case {Reply, warder_replies:check(Operation, Reply, Id)} of
        {#{<<"failure">> := Word}, {error, Failure, _}} -> ?assertEqual(Word, warder_ask:failure_word(Failure));
        {_, Checked} -> ?assertMatch({ok, _}, Checked)
    end;
check_reply(_, _) ->
    ok.

%% Nil and absent mean the same, and whole numbers may come as floats.
meant(Map) when is_map(Map) -> maps:map(fun(_, V) -> meant(V) end, maps:filter(fun(_, V) -> V =/= null end, Map));
meant(List) when is_list(List) -> [meant(Item) || Item <- List];
meant(F) when is_float(F), F == trunc(F) -> trunc(F);
meant(Other) -> Other.

garbage_is_refused_and_never_raises_test() ->
    _ = rand:seed(exsss, 7),
    [warder_codec:decode(rand:bytes(rand:uniform(40))) || _ <- lists:seq(1, 20000)].

what_has_no_form_raises_test_() ->
    Deep = lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 32)),
    [
        ?_assertError({no_form, _}, warder_codec:encode(#{<<"x">> => Value}, Encoding))
     || Encoding <- [messagepack, json], Value <- [self(), {a}, <<255>>, Deep, #{1 => 2}]
    ].

decision(Fields) ->
    warder_replies:check(stanza_check, maps:merge(#{<<"v">> => 1, <<"id">> => <<"a">>, <<"verdict">> => <<"allow">>}, Fields), <<"a">>).

what_is_no_decision_is_a_bad_reply_test_() ->
    [
        ?_assertMatch({error, bad_reply, _}, decision(Fields))
     || Fields <- [
            #{<<"v">> => 2}, #{<<"id">> => <<"b">>}, #{<<"verdict">> => <<"maybe">>}, #{<<"verdict">> => 1},
            #{<<"failure">> => <<"no-such">>}, #{<<"seq">> => -1}, #{<<"seq">> => 1.5}, #{<<"age_ms">> => <<"1">>},
            #{<<"ttl_ms">> => not_a_number}, #{<<"error">> => []}, #{<<"error">> => #{<<"text">> => <<"a", 0>>}},
            #{<<"notify">> => <<16#EF, 16#BF, 16#BE>>}, #{<<"verdict">> => <<"modify">>},
            #{<<"verdict">> => <<"modify">>, <<"stanza">> => <<1>>}, #{<<"scope">> => 1}
        ]
    ].

a_deny_with_an_unknown_error_stays_a_deny_test() ->
    Given = #{<<"verdict">> => <<"deny">>, <<"error">> => #{<<"type">> => <<"nope">>, <<"condition">> => <<"gone">>}},
    ?assertEqual({ok, #{verdict => deny, scope => none, error => #{condition => gone}}}, decision(Given)).

an_unknown_scope_is_none_test() ->
    ?assertMatch({ok, #{scope := none}}, decision(#{<<"scope">> => <<"galaxy">>})),
    ?assertMatch({ok, #{scope := pair_full}}, decision(#{<<"scope">> => <<"pair-full">>})).

a_reason_is_one_line_test() ->
    ?assertMatch({ok, #{reason := <<"a b">>}}, decision(#{<<"reason">> => <<"a\nb">>})).

what_a_worker_could_not_read_is_taken_without_its_id_test() ->
    Failure = #{<<"v">> => 1, <<"id">> => <<>>, <<"failure">> => <<"bad-request">>, <<"text">> => <<"t">>},
    ?assertEqual({error, bad_request, <<"t">>}, warder_replies:check(join_check, Failure, <<"a">>)),
    ?assertMatch({error, bad_reply, _}, warder_replies:check(join_check, Failure#{<<"id">> := <<"b">>}, <<"a">>)).

a_modified_item_is_for_roster_set_alone_test() ->
    Reply = #{<<"v">> => 1, <<"id">> => <<"a">>, <<"verdict">> => <<"modify">>, <<"item">> => #{<<"name">> => <<"n">>}},
    ?assertMatch({ok, #{item := #{name := <<"n">>}}}, warder_replies:check(roster_set, Reply, <<"a">>)),
    ?assertMatch({error, bad_reply, _}, warder_replies:check(join_check, Reply, <<"a">>)).

normalise(Jid) ->
    {Bare, Resource} = cut(string:lowercase(Jid), <<"/">>),
    case cut(Bare, <<"@">>) of
        {Domain, <<>>} -> {<<>>, Domain, Resource};
        {Node, Domain} -> {Node, Domain, Resource}
    end.

cut(Text, At) ->
    case binary:split(Text, At) of
        [A, B] -> {A, B};
        [A] -> {A, <<>>}
    end.

invalidations_test_() ->
    Read = fun(Map, Encoding) ->
        Payload = warder_codec:encode(maps:merge(#{<<"v">> => 1, <<"reason">> => <<"r">>}, Map), Encoding),
        warder_invalidation:decode(Payload, fun normalise/1)
    end,
    Cases = [
        {#{<<"user">> => <<"Alice@X.org">>}, {user, <<"alice@x.org">>}},
        {#{<<"room">> => <<"R@x">>}, {room, <<"r@x">>}},
        {#{<<"domain">> => <<"X.org">>}, {domain, <<"x.org">>}},
        {#{<<"operation">> => <<"join-check">>}, {operation, join_check}},
        {#{<<"all">> => true}, all},
        {#{<<"tick">> => <<"w">>}, tick},
        {#{<<"user">> => <<"a@b">>, <<"room">> => false}, {user, <<"a@b">>}},
        {#{}, all},
        {#{<<"v">> => 2, <<"user">> => <<"a@b">>}, all},
        {#{<<"user">> => <<"a@b">>, <<"room">> => <<"a@b">>}, all},
        {#{<<"user">> => <<"a@b/c">>}, all},
        {#{<<"user">> => 5}, all},
        {#{<<"domain">> => <<"a@b">>}, all},
        {#{<<"operation">> => <<"nope">>}, all},
        {#{<<"tick">> => false}, all}
    ],
    [?_assertEqual(Change, Read(Map, Encoding)) || {Map, Change} <- Cases, Encoding <- [json, messagepack]] ++
        [?_assertEqual(all, warder_invalidation:decode(P, fun(_) -> error(no) end)) || P <- [<<>>, <<"x">>, <<"{\"v\":1,\"user\":\"a@b\"}">>]].

the_brokers_header_is_the_last_test() ->
    Message = fun(Headers) -> #{subject => <<"s">>, sid => <<"1">>, payload => <<>>, headers => Headers} end,
    S = fun(Stream, N) -> [{<<"Nats-Stream">>, Stream}, {<<"Nats-Sequence">>, N}] end,
    ?assertEqual(7, warder_invalidation:sequence_of(Message(S(<<"F">>, <<"9">>) ++ S(<<"S">>, <<"7">>)), <<"S">>)),
    [
        ?assertEqual(none, warder_invalidation:sequence_of(Message(H), <<"S">>))
     || H <- [S(<<"F">>, <<"7">>), S(<<"S">>, <<"0">>), S(<<"S">>, <<"-1">>), S(<<"S">>, <<>>), S(<<"S">>, <<"9007199254740992">>), []]
    ].

a_prefix_of_its_own_has_a_stream_of_its_own_test() ->
    ?assertEqual(<<"WARDER_INVALIDATIONS">>, warder_invalidation:stream_name(<<"xmpp.policy.v1">>)),
    <<Hash:4/binary, _/binary>> = crypto:hash(sha256, <<"a.b">>),
    Hex = string:lowercase(binary:encode_hex(Hash)),
    ?assertEqual(<<"WARDER_INVALIDATIONS_a_b_", Hex/binary>>, warder_invalidation:stream_name(<<"a.b">>)).
