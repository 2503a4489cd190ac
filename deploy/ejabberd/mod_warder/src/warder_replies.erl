%%% What a reply must look like to be one: its envelope and the type of every field that a hook uses. What comes out has
%%% atoms as keys and, where the words are a closed set, as values; what no hook uses is left out.
-module(warder_replies).

-export([check/3]).
-export_type([reply/0, verdict/0, scope/0, roster/0, stanza_error/0, failure/0]).

-type failure() ::
    bad_request | too_large | expired | overloaded | stanza_required | source_unavailable | internal | bad_reply.
-type verdict() :: allow | deny | drop | modify | defer.
-type scope() :: pair | pair_full | sender | room | none.
%% `type' and `condition' as in RFC 6120, sections 8.3.2 and 8.3.3; absent where nobody knows them.
-type stanza_error() :: #{type => atom(), condition => atom(), text => binary(), xml => binary()}.
-type contact() :: #{
    jid := binary(), subscription := none | from | to | both, name => binary(), ask => subscribe, groups => [binary()]
}.
-type roster() :: #{version := binary(), items := [contact()], pending => [#{jid := binary(), text => binary()}]}.
%% Of a decision: verdict, scope and what is there of the others. Of roster_refresh: status, rosters and the others. Of
%% user_removed: forgotten.
-type reply() :: #{
    seq => non_neg_integer(),
    age_ms => number(),
    verdict => verdict(),
    error => stanza_error(),
    notify => binary(),
    stanza => binary(),
    item => #{name => binary(), groups => [binary()]},
    reason => binary(),
    ttl_ms => number(),
    scope => scope(),
    degraded => binary(),
    status => ok | error,
    message => binary(),
    updated => non_neg_integer(),
    errors => non_neg_integer(),
    rosters => #{binary() => roster()},
    failed => #{binary() => binary()},
    again_ms => number(),
    forgotten => boolean(),
    %% Added by warder_ask: monotonic microseconds.
    asked_at => integer(),
    answered_at => integer()
}.

-type field() :: {Key :: binary(), Name :: atom(), required | optional, fun((term()) -> {ok, term()} | {error, binary()})}.

-define(ERROR_TYPES, [auth, cancel, continue, modify, wait]).
-define(CONDITIONS, [
    'bad-request', conflict, 'feature-not-implemented', forbidden, gone, 'internal-server-error', 'item-not-found',
    'jid-malformed', 'not-acceptable', 'not-allowed', 'not-authorized', 'policy-violation', 'recipient-unavailable',
    redirect, 'registration-required', 'remote-server-not-found', 'remote-server-timeout', 'resource-constraint',
    'service-unavailable', 'subscription-required', 'undefined-condition', 'unexpected-request'
]).

%% @doc `Id' is the request's. Detail is for the log.
-spec check(warder_operations:operation(), map(), Id :: binary()) ->
    {ok, reply()} | {error, failure(), Detail :: binary()}.
check(_Operation, Reply, _Id) when not is_map(Reply) ->
    bad(<<"it is no map">>);
check(_Operation, #{<<"v">> := V}, _Id) when V =/= 1 ->
    bad(<<"another version">>);
%% A worker that cannot read a request cannot repeat its id. What it says then must not be lost: a sender who managed to
%% make his own check unreadable would otherwise get the fallback.
check(_Operation, #{<<"v">> := _, <<"id">> := Given, <<"failure">> := Failure} = Reply, Id) when Given =:= Id; Given =:= <<>> ->
    case failure(Failure) of
        {ok, Kind} -> {error, Kind, text_of(Reply)};
        error -> bad(<<"an unknown failure">>)
    end;
check(Operation, #{<<"v">> := _, <<"id">> := Id} = Reply, Id) ->
    case fields(envelope() ++ form(Operation), Reply) of
        {error, Field} -> bad(<<"wrong or missing: ", Field/binary>>);
        {ok, Checked} -> whole(Operation, Checked)
    end;
check(_Operation, #{<<"v">> := _}, _Id) ->
    bad(<<"another id">>);
check(_Operation, _Reply, _Id) ->
    bad(<<"another version">>).

bad(Detail) -> {error, bad_reply, Detail}.

failure(<<"bad-request">>) -> {ok, bad_request};
failure(<<"too-large">>) -> {ok, too_large};
failure(<<"expired">>) -> {ok, expired};
failure(<<"overloaded">>) -> {ok, overloaded};
failure(<<"stanza-required">>) -> {ok, stanza_required};
failure(<<"source-unavailable">>) -> {ok, source_unavailable};
failure(<<"internal">>) -> {ok, internal};
failure(_) -> error.

text_of(#{<<"text">> := Text}) when is_binary(Text) -> Text;
text_of(_) -> <<>>.

%% Where nothing can be modified, modify is no answer.
whole(stanza_check, #{verdict := modify} = Reply) when not is_map_key(stanza, Reply) -> bad(<<"modify without a stanza">>);
whole(roster_set, #{verdict := modify} = Reply) when not is_map_key(item, Reply) -> bad(<<"modify without an item">>);
whole(Operation, #{verdict := modify}) when Operation =/= stanza_check, Operation =/= roster_set ->
    bad(<<"nothing can be modified here">>);
whole(_Operation, #{verdict := _} = Reply) -> {ok, maps:merge(#{scope => none}, Reply)};
whole(_Operation, Reply) -> {ok, Reply}.

-spec envelope() -> [field()].
envelope() ->
    [{<<"seq">>, seq, optional, fun count/1}, {<<"age_ms">>, age_ms, optional, fun number/1}].

-spec form(warder_operations:operation() | decision) -> [field()].
form(roster_refresh) ->
    [
        {<<"status">>, status, required, one_of([ok, error])},
        {<<"message">>, message, optional, fun string/1},
        {<<"updated">>, updated, optional, fun count/1},
        {<<"errors">>, errors, optional, fun count/1},
        {<<"rosters">>, rosters, required, map_of(map(roster()))},
        {<<"failed">>, failed, optional, map_of(fun string/1)},
        {<<"again_ms">>, again_ms, optional, fun number/1}
    ];
form(user_removed) ->
    [{<<"forgotten">>, forgotten, required, fun boolean/1}];
form(roster_set) ->
    Item = [{<<"name">>, name, optional, fun text/1}, {<<"groups">>, groups, optional, list_of(fun text/1)}],
    [{<<"item">>, item, optional, map(Item)} | form(decision)];
form(_Decision) ->
    [
        {<<"verdict">>, verdict, required, one_of([allow, deny, drop, modify, defer])},
        {<<"error">>, error, optional, map(stanza_error())},
        {<<"notify">>, notify, optional, fun text/1},
        {<<"stanza">>, stanza, optional, fun text/1},
        {<<"reason">>, reason, optional, fun line/1},
        {<<"ttl_ms">>, ttl_ms, optional, fun number/1},
        {<<"scope">>, scope, optional, fun scope/1},
        {<<"degraded">>, degraded, optional, fun string/1}
    ].

%% A deny with an error that nobody knows is still a deny: what is unknown gets its default.
stanza_error() ->
    [
        {<<"type">>, type, optional, known_of(?ERROR_TYPES)},
        {<<"condition">>, condition, optional, known_of(?CONDITIONS)},
        {<<"text">>, text, optional, fun text/1},
        {<<"xml">>, xml, optional, fun text/1}
    ].

roster() ->
    Pending = [{<<"jid">>, jid, required, fun text/1}, {<<"text">>, text, optional, fun text/1}],
    [
        {<<"version">>, version, required, fun text/1},
        {<<"items">>, items, required, list_of(map(contact()))},
        {<<"pending">>, pending, optional, list_of(map(Pending))}
    ].

contact() ->
    [
        {<<"jid">>, jid, required, fun text/1},
        {<<"name">>, name, optional, fun text/1},
        {<<"subscription">>, subscription, required, one_of([none, from, to, both])},
        {<<"ask">>, ask, optional, one_of([subscribe])},
        {<<"groups">>, groups, optional, list_of(fun text/1)}
    ].

%% Each takes a value and gives it back as it is used, or the name of the field in it that is wrong.

fields(Fields, Map) ->
    lists:foldl(fun(Field, Checked) -> field(Field, Map, Checked) end, {ok, #{}}, Fields).

field(_Field, _Map, {error, _} = Error) ->
    Error;
field({Key, Name, Presence, Check}, Map, {ok, Checked}) ->
    case Map of
        #{Key := Value} ->
            case Check(Value) of
                {ok, unknown} -> {ok, Checked};
                {ok, Used} -> {ok, Checked#{Name => Used}};
                {error, <<>>} -> {error, Key};
                {error, Within} -> {error, <<Key/binary, ".", Within/binary>>}
            end;
        _ when Presence =:= optional -> {ok, Checked};
        _ -> {error, Key}
    end.

map(Fields) ->
    fun
        (Map) when is_map(Map) -> fields(Fields, Map);
        (_) -> wrong()
    end.

list_of(Check) ->
    fun
        (List) when is_list(List) -> each(Check, List, []);
        (_) -> wrong()
    end.

each(_Check, [], Done) ->
    {ok, lists:reverse(Done)};
each(Check, [Item | Items], Done) ->
    case Check(Item) of
        {ok, Used} -> each(Check, Items, [Used | Done]);
        {error, _} = Error -> Error
    end.

map_of(Check) ->
    fun
        (Map) when is_map(Map) ->
            {Keys, Values} = lists:unzip(maps:to_list(Map)),
            case {each(fun text/1, Keys, []), each(Check, Values, [])} of
                {{ok, _}, {ok, Used}} -> {ok, maps:from_list(lists:zip(Keys, Used))};
                {{error, _}, _} -> wrong();
                {_, {error, _} = Error} -> Error
            end;
        (_) ->
            wrong()
    end.

one_of(Words) ->
    Known = known_of(Words),
    fun(Value) ->
        case Known(Value) of
            {ok, unknown} -> wrong();
            Other -> Other
        end
    end.

known_of(Words) ->
    Known = maps:from_list([{atom_to_binary(Word), Word} || Word <- Words]),
    fun
        (Value) when is_binary(Value) -> {ok, maps:get(Value, Known, unknown)};
        (_) -> wrong()
    end.

scope(<<"pair">>) -> {ok, pair};
scope(<<"pair-full">>) -> {ok, pair_full};
scope(<<"sender">>) -> {ok, sender};
scope(<<"room">>) -> {ok, room};
scope(Other) when is_binary(Other) -> {ok, none};
scope(_) -> wrong().

string(Value) when is_binary(Value) -> {ok, Value};
string(_) -> wrong().

%% For the log, where a line feed would begin an entry that nobody wrote.
line(Value) when is_binary(Value) -> {ok, << <<(if C < 32; C =:= 127 -> $\s; true -> C end)>> || <<C>> <= Value >>};
line(_) -> wrong().

boolean(Value) when is_boolean(Value) -> {ok, Value};
boolean(_) -> wrong().

number(Value) when is_number(Value), Value >= 0 -> {ok, Value};
number(_) -> wrong().

count(Value) when is_integer(Value), Value >= 0 -> {ok, Value};
count(_) -> wrong().

%% What XML 1.0 has no form for would end the stream of the client that it is sent to.
text(Value) when is_binary(Value) ->
    case is_xml(Value) of
        true -> {ok, Value};
        false -> wrong()
    end;
text(_) ->
    wrong().

is_xml(<<C, _/binary>>) when C < 32, C =/= $\t, C =/= $\n, C =/= $\r -> false;
is_xml(<<16#EF, 16#BF, C, _/binary>>) when C >= 16#BE -> false;
is_xml(<<_, Rest/binary>>) -> is_xml(Rest);
is_xml(<<>>) -> true.

wrong() -> {error, <<>>}.
