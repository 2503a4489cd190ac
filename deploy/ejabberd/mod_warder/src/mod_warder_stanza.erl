%%% stanza-check: where stanzas pass on their way, and what becomes of them there. Whoever sends waits, in the process
%%% that his stanzas come by.
-module(mod_warder_stanza).

-export([start/1, stop/1]).
-export([user_send_packet/1, filter_packet/1, sm_receive_packet/1, offline_message/1]).

-include("logger.hrl").
-include("xmpp.hrl").

-type session() :: ejabberd_c2s:state().
-type hook() :: send | route | local | 'receive' | offline.

%% Above those that log, archive or copy (50 and later), so that what is denied is nowhere; joins are asked about
%% behind it.
-define(SEND_PRIORITY, 40).
%% Above the archive (50).
-define(RECEIVE_PRIORITY, 40).
%% Below what refuses strangers (25), so that those cost no question; above the archive (49) and the store (50).
-define(OFFLINE_PRIORITY, 30).

%% In the dictionary of a session's process.
-define(PLACE, mod_warder_stanza_place).

-spec start(binary()) -> ok.
start(Host) ->
    ok = mod_warder_client:start(Host),
    ok = mod_warder_line:start(Host),
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, user_send_packet, ?SEND_PRIORITY),
    ejabberd_hooks:add(sm_receive_packet, Host, ?MODULE, sm_receive_packet, ?RECEIVE_PRIORITY),
    ejabberd_hooks:add(offline_message_hook, Host, ?MODULE, offline_message, ?OFFLINE_PRIORITY).

-spec stop(binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, user_send_packet, ?SEND_PRIORITY),
    ejabberd_hooks:delete(sm_receive_packet, Host, ?MODULE, sm_receive_packet, ?RECEIVE_PRIORITY),
    ejabberd_hooks:delete(offline_message_hook, Host, ?MODULE, offline_message, ?OFFLINE_PRIORITY),
    ok = mod_warder_line:stop(Host),
    mod_warder_client:stop(Host).

%% @doc What a client sends.
-spec user_send_packet({stanza(), session()}) -> {stanza(), session()} | {stop, {drop, session()}}.
user_send_packet({Stanza, #{lserver := Host, sid := _} = Session}) ->
    case check(mod_warder_hosts:find(Host), send, Stanza, Session) of
        {pass, #presence{} = Passed} -> {Passed, mod_warder_client:sent(Passed, Session)};
        {pass, Passed} -> {Passed, Session};
        {refuse, Error} -> {stop, {drop, ejabberd_c2s:send(Session, xmpp:make_error(Stanza, Error))}};
        drop -> {stop, {drop, Session}}
    end;
%% Commands such as send_message show what they send, without a session, and send it whatever is said here.
user_send_packet(Acc) ->
    Acc.

%% @doc What is routed, by whoever. Of the whole node.
-spec filter_packet(stanza() | drop) -> stanza() | drop | {stop, drop}.
filter_packet(drop) ->
    drop;
filter_packet(Stanza) ->
    #jid{lserver = Domain} = xmpp:get_to(Stanza),
    case mod_warder_hosts:find(Domain) of
        {ok, _} = Found -> routed(Found, Stanza);
        none -> filter_rooms(mod_warder_rooms:server_host(Domain), Stanza)
    end.

filter_rooms(none, Stanza) ->
    Stanza;
filter_rooms({ok, Host}, Stanza) ->
    case mod_warder_join:filter(Stanza) of
        drop -> {stop, drop};
        Passed -> routed(mod_warder_hosts:find(Host), Passed)
    end.

routed(Context, Stanza) ->
    case filter(Context, route, Stanza) of
        drop -> {stop, drop};
        Passed -> stopped(filter(Context, local, Passed))
    end.

%% @doc What has come to an account, for as many of its sessions as there may be.
-spec sm_receive_packet(stanza() | drop) -> stanza() | drop | {stop, drop}.
sm_receive_packet(drop) ->
    drop;
sm_receive_packet(Stanza) ->
    #jid{lserver = Host} = xmpp:get_to(Stanza),
    stopped(filter(mod_warder_hosts:find(Host), 'receive', Stanza)).

%% @doc What nobody is there for.
-spec offline_message({atom(), message()}) -> {atom(), message()} | {stop, {drop, message()}}.
offline_message({bounce, #message{to = #jid{lserver = Host}} = Message}) ->
    case filter(mod_warder_hosts:find(Host), offline, Message) of
        drop -> {stop, {drop, Message}};
        Passed -> {bounce, Passed}
    end;
offline_message(Other) ->
    Other.

stopped(drop) -> {stop, drop};
stopped(Stanza) -> Stanza.

filter(Context, Hook, Stanza) ->
    case check(Context, Hook, Stanza, none) of
        {pass, Passed} ->
            Passed;
        {refuse, Error} ->
            ejabberd_router:route_error(Stanza, Error),
            drop;
        drop ->
            drop
    end.

-spec check({ok, mod_warder_hosts:context()} | none, hook(), stanza(), session() | none) ->
    mod_warder_verdict:outcome().
check({ok, #{settings := #{checks := #{stanza_check := true}, hooks := Hooks}} = Context}, Hook, Stanza, Session) when
    is_map_key(Hook, Hooks)
->
    mod_warder_decide:guarded(
        Context,
        stanza_check,
        mod_warder_decide:side(xmpp:get_from(Stanza)),
        fun() -> look(Context, Hook, Stanza, Session) end,
        fun(Fallback) -> without_question(Hook, Stanza, Fallback) end
    );
check(_Context, _Hook, Stanza, _Session) ->
    {pass, Stanza}.

look(#{settings := #{kinds := Kinds}} = Context, Hook, Stanza, Session) ->
    case is_concerned(Hook, Stanza) andalso mod_warder_exempt:reason(Kinds, Hook, Stanza) of
        none -> decide(Context, Hook, Stanza, Session);
        _ -> {pass, Stanza}
    end.

%% Which of the ways each hook looks at.
is_concerned(route, Stanza) ->
    mod_warder_decide:side(xmpp:get_from(Stanza)) =:= remote;
is_concerned('receive', Stanza) ->
    #jid{luser = User, lserver = Server} = xmpp:get_to(Stanza),
    ejabberd_sm:get_user_present_resources(User, Server) =/= [];
is_concerned(_Hook, _Stanza) ->
    true.

decide(Context, Hook, Stanza, Session) ->
    case mod_warder_decide:recall(Context, place(Hook, Stanza)) of
        {ok, #{verdict := allow}} -> {pass, Stanza};
        {ok, Verdict} -> act(Context, Hook, Stanza, Verdict);
        miss -> ask(Context, Hook, Stanza, Session, request(Hook, Stanza))
    end.

%% Most messages go where the one before went, and what is known of that is kept by the session.
place(send, #message{from = From, to = To, type = Type} = Message) ->
    case get(?PLACE) of
        {From, To, Type, Place} ->
            Place;
        _ ->
            Place = mod_warder_decide:place(stanza_check, request(send, Message)),
            _ = put(?PLACE, {From, To, Type, Place}),
            Place
    end;
place(Hook, Stanza) ->
    mod_warder_decide:place(stanza_check, request(Hook, Stanza)).

ask(Context, Hook, Stanza, none, Request) ->
    Side = mod_warder_decide:side(xmpp:get_from(Stanza)),
    Verdict = mod_warder_decide:ask(Context, stanza_check, Side, Request, mod_warder_verdict:verify(Stanza)),
    act(Context, Hook, Stanza, Verdict);
ask(Context, Hook, Stanza, Session, Request) ->
    case is_blocked(Stanza, Session) of
        true ->
            {pass, Stanza};
        false ->
            Outcome = ask(Context, Hook, Stanza, none, Request),
            of_session(mod_warder_client:is_replaced(Session), Outcome)
    end.

%% What was decided is not undone because it could not be said.
act(Context, Hook, Stanza, #{verdict := Word} = Verdict) ->
    try
        mod_warder_verdict:apply(Context, Hook, Stanza, Verdict)
    catch
        Class:Reason:Stack ->
            ?ERROR_MSG("Could not act on ~s: ~ts", [Word, mod_warder_fault:text(Class, Reason, Stack)]),
            drop
    end.

%% What the user himself blocks costs no question: his session refuses it behind this, by the very same look.
is_blocked(Stanza, #{lserver := Host} = Session) ->
    ejabberd_hooks:run_fold(privacy_check_packet, Host, allow, [Session, Stanza, out]) =:= deny.

%% A message that may pass is not lost because its sender's session was replaced meanwhile; for all else an answer or a
%% session would be needed.
of_session(true, {pass, Stanza}) when not is_record(Stanza, message) -> drop;
of_session(_IsReplaced, Outcome) -> Outcome.

request(Hook, Stanza) ->
    Request = #{
        <<"hook">> => atom_to_binary(Hook),
        <<"from">> => mod_warder_decide:jid(xmpp:get_from(Stanza)),
        <<"to">> => mod_warder_decide:jid(xmpp:get_to(Stanza)),
        <<"kind">> => atom_to_binary(element(1, Stanza)),
        <<"stanza">> => fun() -> mod_warder_stanza_xml:text(Stanza) end
    },
    case xmpp:get_type(Stanza) of
        %% What a stanza is that does not say (RFC 6121, sections 4.7.1 and 5.2.2).
        Default when Default =:= normal; Default =:= available -> Request;
        Type -> Request#{<<"type">> => atom_to_binary(Type)}
    end.

%% When nobody knows what went wrong, nobody is told who could throw the recipient out of a room for it.
without_question(_Hook, Stanza, #{verdict := allow}) -> {pass, Stanza};
without_question(_Hook, _Stanza, #{verdict := drop}) -> drop;
without_question(Hook, #presence{}, _Fallback) when Hook =/= send -> drop;
without_question(Hook, #message{type = groupchat}, _Fallback) when Hook =/= send -> drop;
without_question(_Hook, _Stanza, Fallback) -> {refuse, mod_warder_verdict:error_of(stanza_check, Fallback)}.
