%%% What a verdict means to those who sent and to those who would have received. Knows nothing of how the verdict came
%%% about, and answers nobody: whoever applies it knows how.
-module(mod_warder_verdict).

-export([apply/4, refusal/3, verify/1, error_of/2]).
-export_type([outcome/0]).

-include("logger.hrl").
-include("xmpp.hrl").

%% What becomes of a stanza. Drop: nobody is told.
-type outcome() :: {pass, stanza()} | {refuse, stanza_error()} | drop.
-type hook() :: send | route | local | 'receive' | offline.
-type verdict() :: mod_warder_decide:verdict().

%% Nobody sent these knowingly, so nobody is to be told that they failed.
-define(NOTICES, [
    % XEP-0085
    ?NS_CHATSTATES,
    % XEP-0184
    ?NS_RECEIPTS,
    % XEP-0333
    ?NS_CHAT_MARKERS_0,
    % XEP-0334
    ?NS_HINTS,
    % XEP-0359
    ?NS_SID_0,
    % XEP-0203
    ?NS_DELAY
]).
-define(MAX_REASON_BYTES, 200).

%% @doc Of a stanza-check. What the recipient is to be told has been sent to him.
-spec apply(mod_warder_hosts:context(), hook(), stanza(), verdict()) -> outcome().
apply(_Context, _Hook, Stanza, #{verdict := allow}) ->
    {pass, Stanza};
apply(_Context, _Hook, Stanza, #{verdict := modify, stanza := Text} = Verdict) ->
    ok = report(stanza_check, Stanza, Verdict),
    {ok, New} = replacement(Stanza, Text),
    {pass, New};
apply(Context, Hook, Stanza, #{verdict := Word} = Verdict) ->
    Refusal = refusal(stanza_check, Stanza, Verdict),
    ok = notify(Context, Stanza, Word, Verdict),
    case Refusal of
        {refuse, _} ->
            case is_to_be_told(Hook, Stanza) of
                true -> Refusal;
                false -> drop
            end;
        drop ->
            drop
    end.

%% @doc Of a check that changes nothing. The stanza's sender is told by the error, if there is one.
-spec refusal(warder_operations:operation(), stanza(), verdict()) -> allow | {refuse, stanza_error()} | drop.
refusal(_Operation, _Stanza, #{verdict := allow}) ->
    allow;
refusal(Operation, Stanza, Verdict) ->
    ok = report(Operation, Stanza, Verdict),
    case {Verdict, Stanza} of
        %% A request that nobody answers would hang its client (RFC 6120, section 8.2.3), so it hears what it would
        %% hear if nobody were there.
        {#{verdict := drop}, #iq{}} -> {refuse, xmpp:err_service_unavailable()};
        {#{verdict := drop}, _} -> drop;
        _ -> {refuse, error_of(Operation, Verdict)}
    end.

%% @doc Whether a reply makes sense for this stanza: what replaces it must still be the same one.
-spec verify(stanza()) -> fun((warder_replies:reply()) -> boolean()).
verify(Stanza) ->
    fun
        (#{verdict := modify, stanza := Text}) -> replacement(Stanza, Text) =/= error;
        (_) -> true
    end.

%% @doc Of a deny or a defer.
-spec error_of(warder_operations:operation(), verdict()) -> stanza_error().
error_of(Operation, #{verdict := Word, error := #{xml := Text} = Given} = Verdict) ->
    case mod_warder_stanza_xml:stanza_error(Text) of
        %% A client tries again by the type, so a deferral says wait whatever else it says.
        {ok, #stanza_error{type = Type} = Error} when Word =/= defer; Type =:= wait -> Error;
        _ -> error_of(Operation, Verdict#{error := maps:remove(xml, Given)})
    end;
error_of(Operation, #{verdict := Word} = Verdict) ->
    Given = maps:get(error, Verdict, #{}),
    {DefaultType, DefaultCondition, DefaultText} = default_error(Operation, Word),
    Type =
        case Word of
            defer -> wait;
            _ -> maps:get(type, Given, DefaultType)
        end,
    case Given of
        #{text := Text} when Text =/= <<>> -> stanza_error(Type, maps:get(condition, Given, DefaultCondition), Text);
        #{condition := Condition} -> stanza_error(Type, Condition, <<>>);
        _ -> stanza_error(Type, DefaultCondition, DefaultText)
    end.

stanza_error(Type, Condition, Text) ->
    #stanza_error{type = Type, reason = reason(Condition), text = [#text{data = Text} || Text =/= <<>>]}.

reason(gone) -> #gone{};
reason(redirect) -> #redirect{};
reason(Condition) -> Condition.

%% What a refusal says when the answer does not. RFC 6120, section 8.3.3; for joins XEP-0045, section 7.2.7, where
%% not-authorized would make clients ask for a password.
default_error(_Operation, defer) -> {wait, 'resource-constraint', <<"Try again later">>};
default_error(join_check, _) -> {auth, forbidden, <<"You may not enter this room">>};
default_error(session_check, _) -> {cancel, 'not-allowed', <<"You may not open a session now">>};
default_error(roster_set, _) -> {cancel, 'not-allowed', <<"This contact list is kept elsewhere">>};
default_error(roster_subscription, _) -> {cancel, 'not-allowed', <<"This subscription is not allowed">>};
default_error(_Operation, _) -> {cancel, 'not-allowed', <<"This is not allowed here">>}.

%% A room, or whoever sends like one, would take an error for a reason to throw the recipient out.
is_to_be_told(send, Stanza) ->
    not is_notice(Stanza);
is_to_be_told(_Hook, #iq{}) ->
    true;
is_to_be_told(_Hook, Stanza) ->
    not (is_notice(Stanza) orelse is_from_room(Stanza)).

is_from_room(#message{type = groupchat, to = #jid{lserver = Domain}} = Message) ->
    mod_warder_hosts:find(Domain) =/= none orelse mod_warder_exempt:is_from_joined_room(Message);
is_from_room(Stanza) ->
    mod_warder_exempt:is_from_joined_room(Stanza).

is_notice(#message{body = [], subject = [], sub_els = Elements}) ->
    lists:all(fun(Element) -> lists:member(xmpp:get_ns(Element), ?NOTICES) end, Elements);
is_notice(_) ->
    false.

%% The second stanza: a message goes as it is, a bare error in a message of its own. It can come from nobody but the
%% sender and go to nobody but the recipient.
notify(#{settings := #{notify := true}}, Stanza, Word, #{notify := Text}) when Word =:= deny; Word =:= drop ->
    {From, To} = {xmpp:get_from(Stanza), xmpp:get_to(Stanza)},
    case notice(Text) of
        #message{id = Id} = Notice ->
            Addressed = Notice#message{from = From, to = To, id = id(Id)},
            ejabberd_router:route(mod_warder_exempt:own(Addressed));
        error ->
            ?WARNING_MSG("The notification about ~ts is neither a message nor an error; left out", [jid:encode(From)])
    end;
notify(_Context, _Stanza, _Word, _Verdict) ->
    ok.

notice(Text) ->
    case {mod_warder_stanza_xml:stanza_error(Text), mod_warder_stanza_xml:stanza(Text)} of
        {{ok, Error}, _} -> #message{type = error, sub_els = [Error]};
        {error, {ok, #message{} = Message}} -> Message;
        _ -> error
    end.

id(<<>>) -> p1_rand:get_string();
id(Id) -> Id.

%% What decides how a stanza is answered, or makes another thing of it, stays.
replacement(Stanza, Text) ->
    case mod_warder_stanza_xml:stanza(Text) of
        {ok, New} ->
            IsSame =
                element(1, New) =:= element(1, Stanza) andalso xmpp:get_from(New) =:= xmpp:get_from(Stanza) andalso
                    xmpp:get_to(New) =:= xmpp:get_to(Stanza) andalso xmpp:get_id(New) =:= xmpp:get_id(Stanza) andalso
                    may_become(Stanza, xmpp:get_type(Stanza), xmpp:get_type(New)),
            case IsSame of
                true -> {ok, xmpp:set_meta(New, xmpp:get_meta(Stanza))};
                false -> error
            end;
        error ->
            error
    end.

may_become(_Stanza, Type, Type) -> true;
may_become(#message{}, _Type, New) -> New =/= error;
may_become(_Stanza, _Type, _New) -> false.

report(_Operation, _Stanza, #{failure := _}) ->
    ok;
report(Operation, Stanza, #{verdict := Word} = Verdict) ->
    Why =
        case Verdict of
            #{reason := Reason} -> [" (", beginning(Reason), ")"];
            _ -> ""
        end,
    ?INFO_MSG("~ts: ~s for ~s from ~ts to ~ts~ts", [
        warder_operations:slug(Operation),
        Word,
        element(1, Stanza),
        jid:encode(xmpp:get_from(Stanza)),
        jid:encode(xmpp:get_to(Stanza)),
        Why
    ]).

beginning(Reason) ->
    string:slice(Reason, 0, ?MAX_REASON_BYTES).
