%%% MessagePack as the wire uses it: string keys, no extension types, bounded depth.
%%%
%%% A map of the wire is a map with binaries as keys, a list is a list, text is a binary in UTF-8. What is nil in a map is
%%% absent, in a list it is `null'. Whole numbers may come as floats. Binary data and numbers beyond all doubles have no
%%% use on the wire; they are `binary' and `not_a_number', so that a field that holds one is of the wrong type.
-module(warder_messagepack).

-export([encode/1, decode/1]).
%% What JSON has in common with it.
-export([is_utf8/1, whole/1, pairs/1, check_depth/1, deeper/1, check_key/2, without_null/1]).
-export_type([value/0]).

-type value() ::
    binary() | number() | boolean() | null | binary | not_a_number | [value()] | #{binary() | atom() => value()}.

-define(MAX_DEPTH, 32).

%% @doc Raises `{no_form, _}' on what the wire has no form for. A key may be an atom. An absent key is left out, and so is
%% one whose value is `undefined'.
-spec encode(value()) -> binary().
encode(Value) ->
    iolist_to_binary(write(Value, 0)).

write(Text, _Depth) when is_binary(Text) ->
    is_utf8(Text) orelse error({no_form, invalid_utf8}),
    [string_head(byte_size(Text)), Text];
write(Number, _Depth) when is_integer(Number) -> integer(Number);
write(Number, _Depth) when is_float(Number) ->
    case whole(Number) of
        Whole when is_integer(Whole) -> integer(Whole);
        _ -> <<16#CB, Number/float>>
    end;
write(true, _Depth) -> <<16#C3>>;
write(false, _Depth) -> <<16#C2>>;
write(null, _Depth) -> <<16#C0>>;
write(Value, Depth) ->
    check_depth(Depth),
    write_nested(Value, Depth + 1).

write_nested(List, Depth) when is_list(List) ->
    [head(16#90, 16#DC, length(List)) | [write(Item, Depth) || Item <- List]];
write_nested(Map, Depth) when is_map(Map) ->
    Pairs = pairs(Map),
    [head(16#80, 16#DE, length(Pairs)) | [[write(Key, Depth), write(Item, Depth)] || {Key, Item} <- Pairs]];
write_nested(Other, _Depth) ->
    error({no_form, Other}).

%% @private
pairs(Map) ->
    [{key(Key), Value} || {Key, Value} <- maps:to_list(Map), Value =/= undefined].

key(Key) when is_binary(Key) -> Key;
key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) -> error({no_form, Key}).

%% @private
check_depth(Depth) ->
    Depth < ?MAX_DEPTH orelse error({no_form, too_deep}).

head(Short, _Long, Count) when Count =< 15 -> <<(Short + Count)>>;
head(_Short, Long, Count) when Count =< 16#FFFF -> <<Long, Count:16>>;
head(_Short, Long, Count) -> <<(Long + 1), Count:32>>.

string_head(Size) when Size =< 31 -> <<(16#A0 + Size)>>;
string_head(Size) when Size =< 16#FF -> <<16#D9, Size>>;
string_head(Size) when Size =< 16#FFFF -> <<16#DA, Size:16>>;
string_head(Size) -> <<16#DB, Size:32>>.

integer(N) when N >= 0, N =< 16#7F -> <<N>>;
integer(N) when N < 0, N >= -16#20 -> <<N:8>>;
integer(N) when N >= 0, N =< 16#FF -> <<16#CC, N>>;
integer(N) when N >= 0, N =< 16#FFFF -> <<16#CD, N:16>>;
integer(N) when N >= 0, N =< 16#FFFFFFFF -> <<16#CE, N:32>>;
integer(N) when N >= 0, N =< 16#FFFFFFFFFFFFFFFF -> <<16#CF, N:64>>;
integer(N) when N >= -16#80 -> <<16#D0, N:8>>;
integer(N) when N >= -16#8000 -> <<16#D1, N:16>>;
integer(N) when N >= -16#80000000 -> <<16#D2, N:32>>;
integer(N) when N >= -16#8000000000000000, N < 0 -> <<16#D3, N:64>>;
integer(N) -> error({no_form, N}).

%% @doc One value and nothing after it. Strings are parts of the given binary: copy what is kept.
-spec decode(binary()) -> {ok, value()} | {error, Reason :: binary()}.
decode(Bytes) ->
    try value(Bytes, 0) of
        {Value, <<>>} -> {ok, Value};
        {_, _} -> {error, <<"bytes left over">>}
    catch
        throw:{malformed, Reason} -> {error, Reason}
    end.

value(<<0:1, N:7, Rest/binary>>, _) -> {N, Rest};
value(<<2#101:3, Size:5, Rest/binary>>, _) -> string(Size, Rest);
value(<<16#8:4, Count:4, Rest/binary>>, Depth) -> map(Count, Rest, Depth);
value(<<16#9:4, Count:4, Rest/binary>>, Depth) -> list(Count, Rest, Depth);
value(<<2#111:3, _:5, _/binary>> = Bytes, _) -> negative(Bytes);
value(<<16#C0, Rest/binary>>, _) -> {null, Rest};
value(<<16#C2, Rest/binary>>, _) -> {false, Rest};
value(<<16#C3, Rest/binary>>, _) -> {true, Rest};
value(<<16#C4, Size, _:Size/binary, Rest/binary>>, _) -> {binary, Rest};
value(<<16#C5, Size:16, _:Size/binary, Rest/binary>>, _) -> {binary, Rest};
value(<<16#C6, Size:32, _:Size/binary, Rest/binary>>, _) -> {binary, Rest};
value(<<16#CA, F:32/float, Rest/binary>>, _) -> {whole(F), Rest};
value(<<16#CB, F:64/float, Rest/binary>>, _) -> {whole(F), Rest};
value(<<16#CA, _:32, Rest/binary>>, _) -> {not_a_number, Rest};
value(<<16#CB, _:64, Rest/binary>>, _) -> {not_a_number, Rest};
value(<<16#CC, N, Rest/binary>>, _) -> {N, Rest};
value(<<16#CD, N:16, Rest/binary>>, _) -> {N, Rest};
value(<<16#CE, N:32, Rest/binary>>, _) -> {N, Rest};
value(<<16#CF, N:64, Rest/binary>>, _) -> {N, Rest};
value(<<16#D0, N:8/signed, Rest/binary>>, _) -> {N, Rest};
value(<<16#D1, N:16/signed, Rest/binary>>, _) -> {N, Rest};
value(<<16#D2, N:32/signed, Rest/binary>>, _) -> {N, Rest};
value(<<16#D3, N:64/signed, Rest/binary>>, _) -> {N, Rest};
value(<<16#D9, Size, Rest/binary>>, _) -> string(Size, Rest);
value(<<16#DA, Size:16, Rest/binary>>, _) -> string(Size, Rest);
value(<<16#DB, Size:32, Rest/binary>>, _) -> string(Size, Rest);
value(<<16#DC, Count:16, Rest/binary>>, Depth) -> list(Count, Rest, Depth);
value(<<16#DD, Count:32, Rest/binary>>, Depth) -> list(Count, Rest, Depth);
value(<<16#DE, Count:16, Rest/binary>>, Depth) -> map(Count, Rest, Depth);
value(<<16#DF, Count:32, Rest/binary>>, Depth) -> map(Count, Rest, Depth);
value(<<Code, _/binary>>, _) when Code =:= 16#C1; Code >= 16#C7, Code =< 16#C9; Code >= 16#D4, Code =< 16#D8 ->
    throw({malformed, <<"extension types are not allowed">>});
value(_, _) ->
    throw({malformed, <<"truncated">>}).

negative(<<N:8/signed, Rest/binary>>) -> {N, Rest}.

%% Text that is no UTF-8 would end the stream of the client that it is sent to.
string(Size, Bytes) ->
    case Bytes of
        <<Text:Size/binary, Rest/binary>> ->
            is_utf8(Text) orelse throw({malformed, <<"invalid UTF-8">>}),
            {Text, Rest};
        _ ->
            throw({malformed, <<"truncated">>})
    end.

%% Each item takes a byte at least: a declared length is never believed beyond what is there.
list(Count, Bytes, _Depth) when Count > byte_size(Bytes) -> throw({malformed, <<"truncated">>});
list(Count, Bytes, Depth) -> items(Count, Bytes, deeper(Depth), []).

items(0, Rest, _Depth, Items) ->
    {lists:reverse(Items), Rest};
items(Count, Bytes, Depth, Items) ->
    {Item, Rest} = value(Bytes, Depth),
    items(Count - 1, Rest, Depth, [Item | Items]).

map(Count, Bytes, _Depth) when 2 * Count > byte_size(Bytes) -> throw({malformed, <<"truncated">>});
map(Count, Bytes, Depth) -> members(Count, Bytes, deeper(Depth), #{}).

members(0, Rest, _Depth, Map) ->
    {without_null(Map), Rest};
members(Count, Bytes, Depth, Map) ->
    {Key, AfterKey} = value(Bytes, Depth),
    check_key(Key, Map),
    {Item, Rest} = value(AfterKey, Depth),
    members(Count - 1, Rest, Depth, Map#{Key => Item}).

%% @private
deeper(Depth) when Depth < ?MAX_DEPTH -> Depth + 1;
deeper(_) -> throw({malformed, <<"nested more than 32 deep">>}).

%% @private The key `__proto__' is one like another here, and a weapon on the other side of the wire, where it is refused too.
check_key(Key, _Map) when not is_binary(Key) -> throw({malformed, <<"a key is not a string">>});
check_key(<<"__proto__">>, _Map) -> throw({malformed, <<"a key is __proto__">>});
check_key(Key, Map) when is_map_key(Key, Map) -> throw({malformed, <<"a map has a key twice">>});
check_key(_Key, _Map) -> ok.

%% @private
without_null(Map) ->
    case lists:member(null, maps:values(Map)) of
        true -> maps:filter(fun(_, Value) -> Value =/= null end, Map);
        false -> Map
    end.

%% @private A whole number that comes as a float, from an encoder without integers.
whole(F) when F >= -9.3e18, F =< 9.3e18, F == trunc(F) -> trunc(F);
whole(F) -> F.

%% @private Without surrogates, overlong forms and what is beyond U+10FFFF. Most text is ASCII.
is_utf8(<<A:56, Rest/binary>>) when A band 16#80808080808080 =:= 0 -> is_utf8(Rest);
is_utf8(<<C, Rest/binary>>) when C < 128 -> is_utf8(Rest);
is_utf8(<<_/utf8, Rest/binary>>) -> is_utf8(Rest);
is_utf8(Rest) -> Rest =:= <<>>.
