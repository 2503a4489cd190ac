%%% The NATS text protocol: bytes to operations and back. Incremental, strict and bounded; knows no socket and no JSON.
-module(warder_nats_protocol).

-export([new/0, new/1, push/2, is_clean/1]).
-export([last_header/2, is_subject/1, is_pattern/1]).
-export([connect/1, subscribe/3, unsubscribe/1, publish/3, publish/4, ping/0, pong/0]).
-export_type([parser/0, operation/0, message/0, headers/0]).

%% INFO names every server of a cluster, so a line may be longer than what a client may send.
-define(MAX_LINE, 65536).
-define(MAX_PAYLOAD, 4194304).
%% No broker sends more in one message (its own bound is 64 MiB); a longer number is no length but garbage.
-define(MAX_DECLARED, 2147483648).

-record(parser, {
    max_line :: pos_integer(),
    max_payload :: pos_integer(),
    %% What the bytes that come next are part of: of a line, of the payload of a message, or of one that is too large.
    within = line :: line | {payload, line_of_message()} | {skipped, line_of_message(), non_neg_integer()},
    buffer = <<>> :: binary(),
    %% What came behind the buffer, youngest first. Joined only when it completes a payload, so that one in a thousand
    %% pieces is not copied a thousand times.
    parts = [] :: [binary()],
    missing = 0 :: non_neg_integer()
}).

-record(line, {
    subject :: binary(),
    sid :: binary(),
    reply :: binary() | undefined,
    header_size :: non_neg_integer(),
    size :: non_neg_integer()
}).

-opaque parser() :: #parser{}.
-type line_of_message() :: #line{}.
%% In the order they came; a name may come several times.
-type headers() :: [{Name :: binary(), Value :: binary()}].
%% `status' is the number in a header's first line. `oversize': the payload was larger than is taken, and is empty here.
-type message() :: #{
    subject := binary(),
    sid := binary(),
    payload := binary(),
    reply => binary(),
    headers => headers(),
    status => non_neg_integer(),
    oversize => true
}.
-type operation() :: {info, Json :: binary()} | {msg, message()} | ping | pong | ok | {err, Text :: binary()}.

-spec new() -> parser().
new() ->
    new(#{}).

%% @doc `max_payload': a larger message is skipped without being kept.
-spec new(#{max_line => pos_integer(), max_payload => pos_integer()}) -> parser().
new(Options) ->
    #parser{
        max_line = maps:get(max_line, Options, ?MAX_LINE),
        max_payload = maps:get(max_payload, Options, ?MAX_PAYLOAD)
    }.

%% @doc The operations that these bytes complete, in order. After an error the stream is broken for good; what was whole
%% before it comes along.
-spec push(binary(), parser()) -> {ok, [operation()], parser()} | {error, Reason :: binary(), [operation()]}.
push(Bytes, #parser{missing = Missing, parts = Parts} = Parser) when byte_size(Bytes) < Missing ->
    {ok, [], Parser#parser{missing = Missing - byte_size(Bytes), parts = [Bytes | Parts]}};
push(Bytes, #parser{buffer = <<>>, parts = []} = Parser) ->
    next(Bytes, Parser, []);
push(Bytes, #parser{buffer = Buffer, parts = Parts} = Parser) ->
    Joined = iolist_to_binary([Buffer | lists:reverse(Parts, [Bytes])]),
    next(Joined, Parser#parser{buffer = <<>>, parts = [], missing = 0}, []).

%% @doc Whether everything that came has been read: nothing may stand in clear before TLS begins.
-spec is_clean(parser()) -> boolean().
is_clean(#parser{within = line, buffer = <<>>, parts = []}) -> true;
is_clean(#parser{}) -> false.

next(Bytes, #parser{within = line, max_line = Max} = Parser, Done) ->
    case binary:match(Bytes, <<"\n">>) of
        {At, 1} when At =< Max ->
            <<Line:At/binary, $\n, Rest/binary>> = Bytes,
            line(strip_return(Line), Rest, Parser, Done);
        nomatch when byte_size(Bytes) =< Max ->
            {ok, lists:reverse(Done), Parser#parser{buffer = Bytes}};
        _ ->
            {error, <<"line too long">>, lists:reverse(Done)}
    end;
next(Bytes, #parser{within = {payload, #line{size = Size} = Line}} = Parser, Done) ->
    case Bytes of
        <<Payload:Size/binary, "\r\n", Rest/binary>> ->
            next(Rest, Parser#parser{within = line}, [{msg, message(Line, Payload)} | Done]);
        _ when byte_size(Bytes) < Size + 2 ->
            Missing = Size + 2 - byte_size(Bytes),
            {ok, lists:reverse(Done), Parser#parser{buffer = Bytes, missing = Missing}};
        _ ->
            {error, <<"payload longer than declared">>, lists:reverse(Done)}
    end;
next(Bytes, #parser{within = {skipped, Line, Left}} = Parser, Done) when byte_size(Bytes) < Left ->
    {ok, lists:reverse(Done), Parser#parser{within = {skipped, Line, Left - byte_size(Bytes)}}};
next(Bytes, #parser{within = {skipped, Line, Left}} = Parser, Done) ->
    %% The end of line behind the payload is counted as part of it: where it is missing, the next line is none.
    <<_:Left/binary, Rest/binary>> = Bytes,
    Message = message(Line#line{header_size = 0}, <<>>),
    next(Rest, Parser#parser{within = line}, [{msg, Message#{oversize => true}} | Done]).

strip_return(Line) ->
    Size = byte_size(Line) - 1,
    case Line of
        <<Stripped:Size/binary, $\r>> -> Stripped;
        _ -> Line
    end.

line(<<"MSG ", Arguments/binary>>, Rest, Parser, Done) ->
    begin_message(message_line(words(Arguments)), Rest, Parser, Done);
line(<<"HMSG ", Arguments/binary>>, Rest, Parser, Done) ->
    begin_message(header_message_line(words(Arguments)), Rest, Parser, Done);
line(Line, Rest, Parser, Done) ->
    case operation(Line) of
        unknown -> {error, <<"unknown operation">>, lists:reverse(Done)};
        Operation -> next(Rest, Parser, [Operation | Done])
    end.

operation(<<"PING">>) -> ping;
operation(<<"PONG">>) -> pong;
operation(<<"+OK">>) -> ok;
operation(<<"INFO ", Json/binary>>) -> {info, Json};
operation(<<"-ERR">>) -> {err, <<>>};
operation(<<"-ERR ", Text/binary>>) -> {err, string:trim(Text, both, " '")};
operation(_) -> unknown.

words(Text) ->
    binary:split(Text, [<<" ">>, <<"\t">>], [global, trim_all]).

begin_message(malformed, _Rest, _Parser, Done) ->
    {error, <<"malformed message">>, lists:reverse(Done)};
begin_message(#line{size = Size} = Line, Rest, #parser{max_payload = Max} = Parser, Done) when Size > Max ->
    next(Rest, Parser#parser{within = {skipped, Line, Size + 2}}, Done);
begin_message(Line, Rest, Parser, Done) ->
    next(Rest, Parser#parser{within = {payload, Line}}, Done).

message_line([Subject, Sid, Size]) -> sized(Subject, Sid, undefined, 0, size_of(Size));
message_line([Subject, Sid, Reply, Size]) -> sized(Subject, Sid, Reply, 0, size_of(Size));
message_line(_) -> malformed.

header_message_line([Subject, Sid, Headers, Size]) ->
    sized(Subject, Sid, undefined, size_of(Headers), size_of(Size));
header_message_line([Subject, Sid, Reply, Headers, Size]) ->
    sized(Subject, Sid, Reply, size_of(Headers), size_of(Size));
header_message_line(_) ->
    malformed.

%% `malformed' is an atom, and so larger than every number.
sized(Subject, Sid, Reply, HeaderSize, Size) when HeaderSize =< Size, is_integer(Size) ->
    #line{subject = Subject, sid = Sid, reply = Reply, header_size = HeaderSize, size = Size};
sized(_, _, _, _, _) ->
    malformed.

size_of(<<First, _/binary>> = Digits) when First >= $0, First =< $9, byte_size(Digits) =< 10 ->
    try binary_to_integer(Digits) of
        Size when Size =< ?MAX_DECLARED -> Size;
        _ -> malformed
    catch
        error:badarg -> malformed
    end;
size_of(_) ->
    malformed.

message(#line{subject = Subject, sid = Sid, reply = Reply, header_size = HeaderSize}, Bytes) ->
    <<Block:HeaderSize/binary, Payload/binary>> = Bytes,
    Message = #{subject => Subject, sid => Sid, payload => Payload},
    with_headers(Block, with_reply(Reply, Message)).

with_reply(undefined, Message) -> Message;
with_reply(Reply, Message) -> Message#{reply => Reply}.

%% What is no header line is passed over: a careless publisher must not cost everybody the connection.
with_headers(<<"NATS/1.0", Block/binary>>, Message) ->
    [First | Lines] = binary:split(Block, <<"\r\n">>, [global]),
    Headers = lists:filtermap(fun header/1, Lines),
    case First of
        <<" ", A, B, C, _/binary>> when A >= $1, A =< $9, B >= $0, B =< $9, C >= $0, C =< $9 ->
            Message#{headers => Headers, status => (A - $0) * 100 + (B - $0) * 10 + C - $0};
        _ ->
            Message#{headers => Headers}
    end;
with_headers(_, Message) ->
    Message.

header(Line) ->
    case binary:split(Line, <<":">>) of
        [<<_, _/binary>> = Name, Value] -> {true, {Name, string:trim(Value, both, " \t")}};
        _ -> false
    end.

%% @doc The last value: where the broker adds a header that a publisher forged too, the last one is the broker's.
-spec last_header(binary(), headers()) -> binary() | undefined.
last_header(Name, Headers) ->
    case lists:keyfind(Name, 1, lists:reverse(Headers)) of
        {Name, Value} -> Value;
        false -> undefined
    end.

%% @doc A subject to publish to: tokens without white space, control characters or wildcards, divided by single dots.
-spec is_subject(binary()) -> boolean().
is_subject(Subject) ->
    lists:all(fun(Token) -> is_token(Token) end, binary:split(Subject, <<".">>, [global])).

%% @doc A subject to subscribe to: `*' may stand for a token, `>' for the last ones.
-spec is_pattern(binary()) -> boolean().
is_pattern(Subject) ->
    Tokens = binary:split(Subject, <<".">>, [global]),
    {Last, Others} = {lists:last(Tokens), lists:droplast(Tokens)},
    IsPart = fun(Token) -> Token =:= <<"*">> orelse is_token(Token) end,
    (Last =:= <<">">> orelse IsPart(Last)) andalso lists:all(IsPart, Others).

is_token(<<>>) -> false;
is_token(Token) -> is_token_rest(Token).

is_token_rest(<<C, Rest/binary>>) when C > $\s, C =/= 127, C =/= $*, C =/= $> -> is_token_rest(Rest);
is_token_rest(Rest) -> Rest =:= <<>>.

-spec connect(Json :: iodata()) -> iodata().
connect(Json) ->
    [<<"CONNECT ">>, Json, <<"\r\n">>].

-spec subscribe(Pattern :: binary(), Sid :: binary(), Queue :: binary() | undefined) -> iodata().
subscribe(Pattern, Sid, undefined) -> [<<"SUB ">>, Pattern, $\s, Sid, <<"\r\n">>];
subscribe(Pattern, Sid, Queue) -> [<<"SUB ">>, Pattern, $\s, Queue, $\s, Sid, <<"\r\n">>].

-spec unsubscribe(Sid :: binary()) -> iodata().
unsubscribe(Sid) ->
    [<<"UNSUB ">>, Sid, <<"\r\n">>].

%% @doc The subjects must have been looked at by {@link is_subject/1}: a space in one would make it another operation.
-spec publish(Subject :: binary(), Reply :: iodata(), Payload :: binary()) -> iodata().
publish(Subject, Reply, Payload) ->
    [<<"PUB ">>, Subject, $\s, Reply, $\s, integer_to_binary(byte_size(Payload)), <<"\r\n">>, Payload, <<"\r\n">>].

%% @doc With headers. Its size, headers included, counts against the broker's `max_payload'. An error where a name or value
%% would break out of its line.
-spec publish(binary(), iodata(), headers(), binary()) -> {ok, iodata(), Size :: pos_integer()} | {error, bad_header}.
publish(Subject, Reply, Headers, Payload) ->
    case lists:all(fun({Name, Value}) -> is_header_name(Name) andalso is_header_value(Value) end, Headers) of
        false ->
            {error, bad_header};
        true ->
            Lines = [[Name, <<": ">>, Value, <<"\r\n">>] || {Name, Value} <- Headers],
            Block = iolist_to_binary([<<"NATS/1.0\r\n">>, Lines, <<"\r\n">>]),
            Size = byte_size(Block) + byte_size(Payload),
            Sizes = [integer_to_binary(byte_size(Block)), $\s, integer_to_binary(Size)],
            {ok, [<<"HPUB ">>, Subject, $\s, Reply, $\s, Sizes, <<"\r\n">>, Block, Payload, <<"\r\n">>], Size}
    end.

is_header_name(<<>>) -> false;
is_header_name(Name) -> lists:all(fun(C) -> C > $\s andalso C < 127 andalso C =/= $: end, binary_to_list(Name)).

is_header_value(Value) -> lists:all(fun(C) -> C >= $\s andalso C =/= 127 end, binary_to_list(Value)).

-spec ping() -> binary().
ping() -> <<"PING\r\n">>.

-spec pong() -> binary().
pong() -> <<"PONG\r\n">>.
