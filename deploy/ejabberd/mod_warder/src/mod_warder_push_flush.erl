%%% POST /mod_msg_filter/: what is remembered of a user is not to be trusted any more. Passed on to a worker, because
%%% hooks may not publish changes. Knows no HTTP but its status codes.
-module(mod_warder_push_flush).

-export([parse/1, run/2]).
-export_type([user/0]).

-include("xmpp.hrl").

-type user() :: #{jid := binary(), host := binary()}.

-define(BUDGET_MS, 5000).

%% @doc Of `<flush jid="user@domain"/>', also without its end, as its author wrote it.
-spec parse(binary()) -> {ok, user()} | {error, Problem :: binary()}.
parse(Body) ->
    case warder_messagepack:is_utf8(Body) andalso fxml_stream:parse_element(closed(string:trim(Body))) of
        #xmlel{name = <<"flush">>} = Flush -> user(fxml:get_tag_attr(<<"jid">>, Flush));
        _ -> wrong_body()
    end.

closed(Text) ->
    case re:run(Text, <<"^<flush\\s[^<>]*[^<>/]>$">>, [{capture, none}, dollar_endonly]) of
        match -> <<Text/binary, "</flush>">>;
        nomatch -> Text
    end.

user(false) ->
    wrong_body();
user({value, Given}) ->
    try jid:decode(Given) of
        #jid{luser = User, lserver = Server, resource = <<>>} ->
            {ok, #{jid => jid:encode({User, Server, <<>>}), host => Server}};
        #jid{} ->
            wrong_jid()
    catch
        _:_ -> wrong_jid()
    end.

wrong_body() -> {error, <<"the body must be <flush jid=\"user@domain\"/>">>}.

wrong_jid() -> {error, <<"jid must be a bare JID: user@domain">>}.

%% @doc Waits until a worker has published it.
-spec run(user(), map()) -> mod_warder_http:answer().
run(#{jid := Jid}, #{client := Client, settings := #{prefix := Prefix, encoding := Encoding}}) ->
    Request = warder_codec:encode(#{<<"v">> => 1, <<"user">> => Jid}, Encoding),
    Deadline = erlang:monotonic_time(millisecond) + ?BUDGET_MS,
    case token(warder_nats:request(Client, <<Prefix/binary, ".ctl.flush">>, Request, Deadline)) of
        {ok, Token} ->
            {200, #{<<"status">> => <<"ok">>, <<"token">> => Token}};
        error ->
            Message = <<"the change could not be published; send it again">>,
            {503, #{<<"status">> => <<"error">>, <<"message">> => Message}}
    end.

token({ok, #{oversize := true}}) ->
    error;
token({ok, #{payload := Payload}}) ->
    case warder_codec:decode(Payload) of
        {ok, #{<<"failure">> := _}} -> error;
        {ok, #{<<"v">> := 1, <<"seq">> := Token}} when is_number(Token) -> {ok, Token};
        _ -> error
    end;
token({error, _Failure}) ->
    error.
