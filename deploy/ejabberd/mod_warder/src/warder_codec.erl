%%% Payloads: a request to bytes, hostile bytes to a map or to nothing. Knows encodings, and no operation.
-module(warder_codec).

-export([encode/2, decode/1]).
-export_type([encoding/0]).

-type encoding() :: messagepack | json.

-define(MAX_BYTES, 4194304).

%% @doc Raises `{no_form, _}' on what has no form on the wire.
-spec encode(#{binary() | atom() => warder_messagepack:value()}, encoding()) -> binary().
encode(Map, messagepack) -> warder_messagepack:encode(Map);
encode(Map, json) -> warder_json:encode(Map).

%% @doc The first byte tells the encoding.
-spec decode(binary()) -> {ok, #{binary() => warder_messagepack:value()}} | {error, Reason :: binary()}.
decode(<<>>) ->
    {error, <<"empty">>};
decode(Bytes) when byte_size(Bytes) > ?MAX_BYTES ->
    {error, <<"over 4 MiB">>};
decode(<<First, _/binary>> = Bytes) ->
    Decoded =
        case lists:member(First, "{ \t\r\n") of
            true -> warder_json:decode(Bytes);
            false -> warder_messagepack:decode(Bytes)
        end,
    case Decoded of
        {ok, Map} when is_map(Map) -> Decoded;
        {ok, _} -> {error, <<"not a map">>};
        {error, _} -> Decoded
    end.
