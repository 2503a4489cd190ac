%%% JSON as the wire uses it: strict, of bounded depth, values as in warder_messagepack. Written here because what others
%%% send must be refused where a usual decoder is lenient, and because the broker's greeting is JSON on any server.
-module(warder_json).

-export([encode/1, decode/1]).
-export_type([value/0]).

-type value() :: warder_messagepack:value().

%% A number of more digits than any double has; reading it would only cost time.
-define(MAX_DIGITS, 400).

%% @doc Raises on what has no form, as {@link warder_messagepack:encode/1} does.
-spec encode(value()) -> binary().
encode(Value) ->
    iolist_to_binary(write(Value, 0)).

write(Text, _Depth) when is_binary(Text) ->
    warder_messagepack:is_utf8(Text) orelse error({no_form, invalid_utf8}),
    [$", escape(Text), $"];
write(Number, _Depth) when is_integer(Number) -> integer_to_binary(Number);
write(Number, _Depth) when is_float(Number) -> io_lib:format("~w", [Number]);
write(true, _Depth) -> <<"true">>;
write(false, _Depth) -> <<"false">>;
write(null, _Depth) -> <<"null">>;
write(Value, Depth) ->
    warder_messagepack:check_depth(Depth),
    write_nested(Value, Depth + 1).

write_nested(List, Depth) when is_list(List) ->
    [$[, lists:join($,, [write(Item, Depth) || Item <- List]), $]];
write_nested(Map, Depth) when is_map(Map) ->
    Pairs = [[write(Key, Depth), $:, write(Item, Depth)] || {Key, Item} <- warder_messagepack:pairs(Map)],
    [${, lists:join($,, Pairs), $}];
write_nested(Other, _Depth) ->
    error({no_form, Other}).

escape(Text) ->
    case binary:match(Text, [<<"\"">>, <<"\\">> | [<<C>> || C <- lists:seq(0, 31)]]) of
        nomatch -> Text;
        _ -> [escape_char(C) || <<C>> <= Text]
    end.

escape_char($") -> <<"\\\"">>;
escape_char($\\) -> <<"\\\\">>;
escape_char($\n) -> <<"\\n">>;
escape_char($\r) -> <<"\\r">>;
escape_char($\t) -> <<"\\t">>;
escape_char(C) when C < 32 -> io_lib:format("\\u~4.16.0b", [C]);
escape_char(C) -> C.

%% @doc One value with white space around it. What is null in an object is absent.
-spec decode(binary()) -> {ok, value()} | {error, Reason :: binary()}.
decode(Text) ->
    try
        warder_messagepack:is_utf8(Text) orelse throw({malformed, <<"invalid UTF-8">>}),
        {Value, Rest} = value(skip(Text), 0),
        skip(Rest) =:= <<>> orelse throw({malformed, <<"text left over">>}),
        {ok, Value}
    catch
        throw:{malformed, Reason} -> {error, Reason}
    end.

skip(<<C, Rest/binary>>) when C =:= $\s; C =:= $\t; C =:= $\r; C =:= $\n -> skip(Rest);
skip(Rest) -> Rest.

value(<<$", Rest/binary>>, _Depth) -> string(Rest, Rest, 0, []);
value(<<"true", Rest/binary>>, _Depth) -> {true, Rest};
value(<<"false", Rest/binary>>, _Depth) -> {false, Rest};
value(<<"null", Rest/binary>>, _Depth) -> {null, Rest};
value(<<${, Rest/binary>>, Depth) -> map(skip(Rest), warder_messagepack:deeper(Depth));
value(<<$[, Rest/binary>>, Depth) -> list(skip(Rest), warder_messagepack:deeper(Depth));
value(<<>>, _Depth) -> throw({malformed, <<"truncated">>});
value(Text, _Depth) -> number(Text).

map(<<$}, Rest/binary>>, _Depth) -> {#{}, Rest};
map(Text, Depth) -> members(Text, Depth, #{}).

members(<<$", Text/binary>>, Depth, Map) ->
    {Key, AfterKey} = string(Text, Text, 0, []),
    warder_messagepack:check_key(Key, Map),
    {Value, AfterValue} = value(skip(expect($:, skip(AfterKey))), Depth),
    Added = Map#{Key => Value},
    case skip(AfterValue) of
        <<$,, Rest/binary>> -> members(skip(Rest), Depth, Added);
        Rest -> {warder_messagepack:without_null(Added), expect($}, Rest)}
    end;
members(_Text, _Depth, _Map) ->
    throw({malformed, <<"a key is not a string">>}).

list(<<$], Rest/binary>>, _Depth) -> {[], Rest};
list(Text, Depth) -> items(Text, Depth, []).

items(Text, Depth, Items) ->
    {Value, AfterValue} = value(Text, Depth),
    case skip(AfterValue) of
        <<$,, Rest/binary>> -> items(skip(Rest), Depth, [Value | Items]);
        Rest -> {lists:reverse(Items, [Value]), expect($], Rest)}
    end.

expect(C, <<C, Rest/binary>>) -> Rest;
expect(_, <<>>) -> throw({malformed, <<"truncated">>});
expect(_, _) -> throw({malformed, <<"not JSON">>}).

%% `Plain' begins where the last escape ended, and `Size' bytes of it have been looked at.
string(<<$", Rest/binary>>, Plain, Size, []) ->
    {binary:part(Plain, 0, Size), Rest};
string(<<$", Rest/binary>>, Plain, Size, Parts) ->
    {iolist_to_binary(lists:reverse(Parts, [binary:part(Plain, 0, Size)])), Rest};
string(<<$\\, Rest/binary>>, Plain, Size, Parts) ->
    {Char, After} = escaped(Rest),
    string(After, After, 0, [Char, binary:part(Plain, 0, Size) | Parts]);
string(<<C, _/binary>>, _Plain, _Size, _Parts) when C < 32 ->
    throw({malformed, <<"a control character in a string">>});
string(<<_, Rest/binary>>, Plain, Size, Parts) ->
    string(Rest, Plain, Size + 1, Parts);
string(<<>>, _Plain, _Size, _Parts) ->
    throw({malformed, <<"truncated">>}).

escaped(<<C, Rest/binary>>) when C =:= $"; C =:= $\\; C =:= $/ -> {C, Rest};
escaped(<<$b, Rest/binary>>) -> {$\b, Rest};
escaped(<<$f, Rest/binary>>) -> {$\f, Rest};
escaped(<<$n, Rest/binary>>) -> {$\n, Rest};
escaped(<<$r, Rest/binary>>) -> {$\r, Rest};
escaped(<<$t, Rest/binary>>) -> {$\t, Rest};
escaped(<<$u, Hex:4/binary, Rest/binary>>) -> unit(hex(Hex), Rest);
escaped(_) -> throw({malformed, <<"an escape that is none">>}).

unit(High, <<"\\u", Hex:4/binary, Rest/binary>>) when High >= 16#D800, High =< 16#DBFF ->
    case hex(Hex) of
        Low when Low >= 16#DC00, Low =< 16#DFFF ->
            {<<(16#10000 + (High - 16#D800) * 16#400 + Low - 16#DC00)/utf8>>, Rest};
        _ ->
            throw({malformed, <<"half a surrogate pair">>})
    end;
unit(Unit, _) when Unit >= 16#D800, Unit =< 16#DFFF -> throw({malformed, <<"half a surrogate pair">>});
unit(Unit, Rest) -> {<<Unit/utf8>>, Rest}.

hex(<<First, _/binary>> = Digits) when First =/= $+, First =/= $- ->
    try
        binary_to_integer(Digits, 16)
    catch
        error:badarg -> throw({malformed, <<"an escape that is none">>})
    end;
hex(_) ->
    throw({malformed, <<"an escape that is none">>}).

number(Text) ->
    case re:run(Text, <<"^(-?(?:0|[1-9][0-9]*))(\\.[0-9]+)?([eE][+-]?[0-9]+)?">>, [{capture, all, index}]) of
        nomatch ->
            throw({malformed, <<"not JSON">>});
        {match, [{0, Size} | Groups]} ->
            <<Number:Size/binary, Rest/binary>> = Text,
            {number([part(Text, Group) || Group <- Groups], Number), Rest}
    end.

part(_Text, {-1, 0}) -> <<>>;
part(Text, {At, Size}) -> binary:part(Text, At, Size).

number(_Groups, Number) when byte_size(Number) > ?MAX_DIGITS -> not_a_number;
number([_Whole], Number) -> binary_to_integer(Number);
number([Whole, Fraction], _Number) -> to_float(Whole, Fraction, <<>>);
number([Whole, Fraction, Exponent], _Number) -> to_float(Whole, Fraction, Exponent).

to_float(Whole, <<>>, Exponent) -> to_float(Whole, <<".0">>, Exponent);
to_float(Whole, Fraction, Exponent) ->
    try
        warder_messagepack:whole(binary_to_float(<<Whole/binary, Fraction/binary, Exponent/binary>>))
    catch
        error:badarg -> not_a_number
    end.
