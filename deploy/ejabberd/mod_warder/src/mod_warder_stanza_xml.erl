%%% XML that came in an answer, turned into what may be sent to a client, or into nothing; and stanzas turned into the
%%% XML of a question. Everything in an answer is foreign text: whatever is not exactly right is refused here, and
%%% nothing here raises.
-module(mod_warder_stanza_xml).

-export([stanza/1, stanza_error/1, text/1]).

-include("xmpp.hrl").

-define(MAX_BYTES, 262144).
%% What nests deeper would overrun the stack of some client that walks it.
-define(MAX_DEPTH, 64).

-define(ERROR_TYPES, [<<"auth">>, <<"cancel">>, <<"continue">>, <<"modify">>, <<"wait">>]).
%% RFC 6120, section 8.3.3.
-define(CONDITIONS, [
    <<"bad-request">>, <<"conflict">>, <<"feature-not-implemented">>, <<"forbidden">>, <<"gone">>,
    <<"internal-server-error">>, <<"item-not-found">>, <<"jid-malformed">>, <<"not-acceptable">>, <<"not-allowed">>,
    <<"not-authorized">>, <<"policy-violation">>, <<"recipient-unavailable">>, <<"redirect">>,
    <<"registration-required">>, <<"remote-server-not-found">>, <<"remote-server-timeout">>, <<"resource-constraint">>,
    <<"service-unavailable">>, <<"subscription-required">>, <<"undefined-condition">>, <<"unexpected-request">>
]).

%% @doc As ejabberd has what a client sent.
-spec stanza(binary()) -> {ok, stanza()} | error.
stanza(Text) ->
    case decode(Text) of
        {ok, Stanza, _Element} when ?is_stanza(Stanza) -> {ok, Stanza};
        _ -> error
    end.

%% @doc A whole stanza error (RFC 6120, section 8.3): one type, one condition, both known.
-spec stanza_error(binary()) -> {ok, stanza_error()} | error.
stanza_error(Text) ->
    case decode(Text) of
        {ok, #stanza_error{} = Error, #xmlel{children = Children} = Element} ->
            Type = fxml:get_tag_attr_s(<<"type">>, Element),
            Namespace = fun(Child) -> fxml:get_tag_attr_s(<<"xmlns">>, Child) end,
            Defined = [Name || #xmlel{name = Name} = Child <- Children, Namespace(Child) =:= ?NS_STANZAS],
            {Texts, Conditions} = lists:partition(fun(Name) -> Name =:= <<"text">> end, Defined),
            case {lists:member(Type, ?ERROR_TYPES), Conditions, Texts} of
                {true, [Condition], Described} when length(Described) =< 1 -> known(Condition, Error);
                _ -> error
            end;
        _ ->
            error
    end.

known(Condition, Error) ->
    case lists:member(Condition, ?CONDITIONS) of
        true -> {ok, Error};
        false -> error
    end.

%% @doc What a worker is shown.
-spec text(stanza()) -> binary().
text(Stanza) ->
    fxml:element_to_binary(xmpp:encode(Stanza, ?NS_CLIENT)).

decode(Text) when is_binary(Text), byte_size(Text) =< ?MAX_BYTES ->
    %% Expat refuses document types, and with them all entities.
    case fxml_stream:parse_element(Text) of
        #xmlel{} = Element ->
            case is_safe(Element, [<<"xml">>], 1) of
                true -> decode_element(without_stream_namespace(Element));
                false -> error
            end;
        {error, _} ->
            error
    end;
decode(_) ->
    error.

decode_element(Element) ->
    try
        {ok, xmpp:decode(Element, ?NS_CLIENT, [ignore_els]), Element}
    catch
        _:{xmpp_codec, _} -> error
    end.

%% A prefix that nothing declares would end the stream of the client that it is sent to.
is_safe(#xmlel{}, _Prefixes, Depth) when Depth > ?MAX_DEPTH ->
    false;
is_safe(#xmlel{name = Name, attrs = Attributes, children = Children}, Outer, Depth) ->
    Prefixes = [Prefix || {<<"xmlns:", Prefix/binary>>, _} <- Attributes] ++ Outer,
    is_declared(Name, Prefixes) andalso
        lists:all(fun({Attribute, _}) -> is_declared(Attribute, [<<"xmlns">> | Prefixes]) end, Attributes) andalso
        lists:all(fun(Child) -> is_safe(Child, Prefixes, Depth + 1) end, Children);
is_safe({xmlcdata, _}, _Prefixes, _Depth) ->
    true.

is_declared(Name, Prefixes) ->
    case binary:split(Name, <<":">>) of
        [Name] -> true;
        [Prefix, _] -> lists:member(Prefix, Prefixes)
    end.

%% Stanzas are decoded as those of a client, whichever stream they were written for. What has another namespace, and
%% all that is in it, stays as it is.
without_stream_namespace(#xmlel{attrs = Attributes, children = Children} = Element) ->
    case fxml:get_attr_s(<<"xmlns">>, Attributes) of
        Stream when Stream =:= <<>>; Stream =:= ?NS_CLIENT; Stream =:= ?NS_SERVER; Stream =:= ?NS_COMPONENT ->
            Element#xmlel{
                attrs = lists:keydelete(<<"xmlns">>, 1, Attributes),
                children = [without_stream_namespace(Child) || Child <- Children]
            };
        _ ->
            Element
    end;
without_stream_namespace({xmlcdata, _} = Text) ->
    Text.
