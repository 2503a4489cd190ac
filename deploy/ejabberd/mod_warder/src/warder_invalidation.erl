%%% What is published when something has changed, read as the workers read it. Invalidating too much is always right: what
%%% cannot be read, names nothing, names several things or a JID without normal form counts as everything.
-module(warder_invalidation).

-export([decode/2, sequence_of/2, stream_name/1]).
-export_type([normalise/0]).

%% Takes a JID apart and prepares its parts as the XMPP server does; what is not there is empty. It may raise, too.
-type normalise() :: fun((binary()) -> {Node :: binary(), Domain :: binary(), Resource :: binary()} | error).

-define(DEFAULT_PREFIX, <<"xmpp.policy.v1">>).
-define(DEFAULT_STREAM, <<"WARDER_INVALIDATIONS">>).
%% What numbers every worker and every hook holds exactly.
-define(MAX_SEQUENCE, 9007199254740991).

%% @doc Never raises.
-spec decode(binary(), normalise()) -> warder_stamps:change() | tick.
decode(Payload, Normalise) ->
    case warder_codec:decode(Payload) of
        {ok, #{<<"v">> := 1} = Map} -> named(maps:to_list(maps:filter(fun is_named/2, Map)), Normalise);
        _ -> all
    end.

is_named(Key, Value) ->
    Value =/= false andalso lists:member(Key, [<<"user">>, <<"room">>, <<"domain">>, <<"operation">>, <<"all">>, <<"tick">>]).

named([{<<"tick">>, _}], _Normalise) -> tick;
named([{<<"operation">>, Slug}], _Normalise) ->
    case warder_operations:from_slug(Slug) of
        {ok, Operation} -> {operation, Operation};
        error -> all
    end;
named([{<<"user">>, Jid}], Normalise) -> bare(user, prepared(Jid, Normalise));
named([{<<"room">>, Jid}], Normalise) -> bare(room, prepared(Jid, Normalise));
named([{<<"domain">>, Jid}], Normalise) ->
    case prepared(Jid, Normalise) of
        {<<>>, Domain, <<>>} when Domain =/= <<>> -> {domain, Domain};
        _ -> all
    end;
named(_, _Normalise) ->
    all.

bare(Kind, {<<>>, Domain, <<>>}) when Domain =/= <<>> -> {Kind, Domain};
bare(Kind, {Node, Domain, <<>>}) when Domain =/= <<>> -> {Kind, <<Node/binary, "@", Domain/binary>>};
bare(_Kind, _) -> all.

prepared(Jid, Normalise) when is_binary(Jid) ->
    try
        Normalise(Jid)
    catch
        _:_ -> error
    end;
prepared(_, _Normalise) ->
    error.

%% @doc The number that the broker gave a message, if it is from this stream. A publisher can forge headers; the broker's
%% own stand last.
-spec sequence_of(warder_nats:message(), Stream :: binary()) -> pos_integer() | none.
sequence_of(#{headers := Headers}, Stream) ->
    case {warder_nats_protocol:last_header(<<"Nats-Stream">>, Headers), warder_nats_protocol:last_header(<<"Nats-Sequence">>, Headers)} of
        {Stream, <<_, _/binary>> = Digits} when byte_size(Digits) =< 16 -> sequence(Digits);
        _ -> none
    end;
sequence_of(_Message, _Stream) ->
    none.

sequence(Digits) ->
    case re:run(Digits, <<"^[0-9]+$">>, [{capture, none}]) of
        match ->
            case binary_to_integer(Digits) of
                Sequence when Sequence > 0, Sequence =< ?MAX_SEQUENCE -> Sequence;
                _ -> none
            end;
        nomatch ->
            none
    end.

%% @doc One stream may not have two names, and two may not capture one subject: the prefix makes the name.
-spec stream_name(Prefix :: binary()) -> binary().
stream_name(?DEFAULT_PREFIX) ->
    ?DEFAULT_STREAM;
stream_name(Prefix) ->
    Plain = re:replace(Prefix, <<"[^A-Za-z0-9]">>, <<"_">>, [global, {return, binary}]),
    <<Hash:4/binary, _/binary>> = crypto:hash(sha256, Prefix),
    Hex = string:lowercase(binary:encode_hex(Hash)),
    <<(?DEFAULT_STREAM)/binary, "_", Plain/binary, "_", Hex/binary>>.
