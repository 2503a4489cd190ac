%%% session-check: whether a client that has authenticated may open a session. Asked before there is one, so that nobody
%%% ever sees a session that was refused: no earlier session of the same name ends for it, nothing is delivered to it.
%%%
%%% ejabberd 23.01 binds a resource without a hook. So the request is seen as it comes in and set aside; the stream, which
%%% is told for this one element that it has not authenticated, hands it over where strangers are turned away, and here it
%%% is asked about and bound.
-module(mod_warder_session).

-export([start/1, stop/1]).
-export([c2s_auth_result/3, c2s_handle_recv/3, c2s_unauthenticated_packet/2, c2s_handle_bind/1, c2s_session_opened/1]).

-include("logger.hrl").
-include("xmpp.hrl").

-type session() :: ejabberd_c2s:state().

%% Before all others: nobody else is to act on what was set aside, or on a session that is refused.
-define(PRIORITY, 1).
-define(MAX_REASON_LENGTH, 200).
-define(HOOKS, [
    {c2s_auth_result, ?PRIORITY},
    %% After stream management has counted it (XEP-0198).
    {c2s_handle_recv, 90},
    {c2s_unauthenticated_packet, ?PRIORITY},
    {c2s_handle_bind, ?PRIORITY},
    {c2s_session_opened, ?PRIORITY}
]).

-spec start(binary()) -> ok.
start(Host) ->
    lists:foreach(fun({Hook, Priority}) -> ejabberd_hooks:add(Hook, Host, ?MODULE, Hook, Priority) end, ?HOOKS).

-spec stop(binary()) -> ok.
stop(Host) ->
    lists:foreach(fun({Hook, Priority}) -> ejabberd_hooks:delete(Hook, Host, ?MODULE, Hook, Priority) end, ?HOOKS).

%% @doc How it authenticated is forgotten by the time it binds.
-spec c2s_auth_result(session(), true | {false, binary()}, User :: binary()) -> session().
c2s_auth_result(#{sasl_mech := Mechanism} = Session, true, _User) ->
    Session#{warder_mechanism => Mechanism};
c2s_auth_result(Session, _Result, _User) ->
    Session.

%% @doc An element has come, and is about to be acted on.
-spec c2s_handle_recv(session(), fxml:xmlel(), xmpp_element() | {error, term()}) -> session().
c2s_handle_recv(#{stream_state := wait_for_bind, lserver := Host} = Session, _, #iq{type = set, sub_els = [_]} = Iq) ->
    case (context(Host) =/= none orelse mod_warder_removed:is_on(Host)) andalso wish(Iq) of
        {ok, Resource} -> Session#{stream_state := wait_for_sasl_request, warder_bind => {Iq, Resource}};
        _ -> Session
    end;
c2s_handle_recv(Session, _Element, _Decoded) ->
    Session.

%% What cannot be read is left for the stream to answer.
wish(Iq) ->
    try xmpp:try_subtag(Iq, #bind{}) of
        #bind{resource = <<>>} -> {ok, p1_rand:get_string()};
        #bind{resource = Resource} -> {ok, Resource};
        false -> none
    catch
        _:{xmpp_codec, _} -> none
    end.

%% @doc What was set aside.
-spec c2s_unauthenticated_packet(session(), xmpp_element()) -> session() | {stop, session()}.
c2s_unauthenticated_packet(#{warder_bind := {Iq, Resource}} = Session, _Packet) ->
    Waiting = maps:remove(warder_bind, Session#{stream_state := wait_for_bind}),
    {stop, bind(Iq, Resource, Waiting)};
c2s_unauthenticated_packet(Session, _Packet) ->
    Session.

%% As the stream itself would (RFC 6120, section 7.6 and 7.7).
bind(Iq, Resource, Session) ->
    case check(Resource, Session) of
        allow ->
            case ejabberd_c2s:bind(Resource, Session#{warder_session => {checked, Resource}}) of
                {ok, #{user := User, server := Server, resource := Bound} = Opened} ->
                    Reply = xmpp:make_iq_result(Iq, #bind{jid = jid:make(User, Server, Bound)}),
                    xmpp_stream_in:establish(xmpp_stream_in:send(Opened, Reply));
                {error, Error, Refused} ->
                    xmpp_stream_in:send_error(maps:remove(warder_session, Refused), Iq, Error)
            end;
        {refuse, Error} ->
            xmpp_stream_in:send_error(Session, Iq, Error)
    end.

%% @doc From ejabberd 24.02 on, whatever way it comes: also as part of authenticating (XEP-0386), where nothing is set
%% aside.
-spec c2s_handle_bind(Bind) -> Bind when
    Bind :: {Resource :: binary(), {ok, session()} | {error, stanza_error(), session()}}.
c2s_handle_bind({Resource, {ok, #{warder_session := {checked, Resource}}}} = Checked) ->
    Checked;
c2s_handle_bind({Given, {ok, Session}}) ->
    Resource =
        case Given of
            <<>> -> p1_rand:get_string();
            _ -> Given
        end,
    case check(Resource, Session) of
        allow -> {Resource, {ok, Session#{warder_session => {checked, Resource}}}};
        {refuse, Error} -> {Resource, {error, Error, Session}}
    end;
c2s_handle_bind(Refused) ->
    Refused.

%% @doc A session that came by another way, such as XEP-0078, is there before anybody can ask, and ends with its stream.
-spec c2s_session_opened(session()) -> session() | {stop, session()}.
c2s_session_opened(#{warder_session := {checked, _}} = Session) ->
    maps:remove(warder_session, Session);
c2s_session_opened(#{resource := Resource, lang := Lang} = Session) ->
    case check(Resource, Session) of
        allow ->
            Session;
        {refuse, #stanza_error{} = Error} ->
            Text = xmpp:get_text(Error#stanza_error.text),
            {stop, ejabberd_c2s:send(Session, xmpp:serr_policy_violation(Text, Lang))}
    end.

check(Resource, #{user := User, lserver := Host, lang := Lang} = Session) ->
    case mod_warder_removed:admit(jid:nodeprep(User), Host, Lang) of
        allow -> may_open(Resource, Session);
        {refuse, Error} -> {refuse, Error}
    end.

may_open(Resource, #{lserver := Host} = Session) ->
    case context(Host) of
        {ok, Context} ->
            mod_warder_decide:guarded(
                Context,
                session_check,
                local,
                fun() -> decide(Context, Resource, Session) end,
                fun(Fallback) -> meaning(Resource, Session, Fallback) end
            );
        none ->
            allow
    end.

context(Host) ->
    case mod_warder_hosts:find(Host) of
        {ok, #{settings := #{checks := #{session_check := true}}} = Context} -> {ok, Context};
        _ -> none
    end.

decide(Context, Resource, Session) ->
    Known = [{<<"ip">>, ip(Session)}, {<<"tls">>, is_tls(Session)}, {<<"mechanism">>, mechanism(Session)}],
    User = {<<"user">>, mod_warder_decide:jid(jid(Resource, Session))},
    Request = maps:from_list([User | [One || {_, Value} = One <- Known, Value =/= unknown]]),
    meaning(Resource, Session, mod_warder_decide:decide(Context, session_check, local, Request, undefined)).

meaning(_Resource, _Session, #{verdict := allow}) ->
    allow;
meaning(_Resource, _Session, #{failure := _} = Fallback) ->
    {refuse, mod_warder_verdict:error_of(session_check, Fallback)};
meaning(Resource, Session, #{verdict := Word} = Verdict) ->
    Why = [[" (", string:slice(Reason, 0, ?MAX_REASON_LENGTH), ")"] || #{reason := Reason} <- [Verdict]],
    ?INFO_MSG("session-check: ~s for ~ts~ts", [Word, jid:encode(jid(Resource, Session)), Why]),
    {refuse, mod_warder_verdict:error_of(session_check, Verdict)}.

jid(Resource, #{user := User, server := Server}) ->
    jid:make(User, Server, Resource).

ip(#{ip := {Address, _Port}}) when is_tuple(Address) ->
    %% A policy that names an address names it as people do, however the socket listens.
    case Address of
        {0, 0, 0, 0, 0, 16#ffff, _, _} -> misc:ip_to_list(inet:ipv4_mapped_ipv6_address(Address));
        _ -> misc:ip_to_list(Address)
    end;
ip(_Session) ->
    unknown.

%% Of what comes by HTTP the web server knows it alone.
is_tls(Session) ->
    case xmpp_stream_in:get_transport(Session) of
        Secured when Secured =:= tls; Secured =:= tls_zlib -> true;
        Plain when Plain =:= tcp; Plain =:= tcp_zlib -> false;
        _ -> unknown
    end.

mechanism(#{warder_mechanism := Mechanism}) -> Mechanism;
mechanism(_Session) -> unknown.
