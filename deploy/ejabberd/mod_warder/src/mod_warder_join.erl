%%% join-check: who enters a room, before there is a room. Asked in the process of whoever sends, so that only he waits:
%%% users of hosts with Warder in their session, all others on their stanza's way through the router. What gets to a
%%% room without having been asked about as things stand there is mod_warder_room_guard's.
-module(mod_warder_join).

-export([start/1, stop/1]).
-export([user_send_packet/1, c2s_presence_in/2, c2s_copy_session/2]).
-export([filter/1]).
%% For mod_warder_room_guard.
-export([context_of_host/1, is_checked/2, check/4, without_question/2, too_fast/1]).
-export_type([event/0, result/0]).

-include("xmpp.hrl").

%% What is asked, of which it depends whether the answer is still good.
-type event() :: {join | 'nick-change' | subscribe, Creating :: boolean()}.
%% What somebody is to the room that he sends to: inside it, under a nickname that is known or not.
-type place() :: outside | inside | {inside, Nick :: binary()}.
-type result() :: {pass, stanza()} | {refuse, stanza_error()} | drop.
-type session() :: ejabberd_c2s:state().

%% Above those that archive or route (50 and later), below what may change or stop the stanza.
-define(PRIORITY, 45).
%% The room may come and go while the question is under way; then it is another question.
-define(MAX_QUESTIONS, 3).

-spec start(binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, user_send_packet, ?PRIORITY),
    ejabberd_hooks:add(c2s_presence_in, Host, ?MODULE, c2s_presence_in, ?PRIORITY),
    ejabberd_hooks:add(c2s_copy_session, Host, ?MODULE, c2s_copy_session, ?PRIORITY),
    mod_warder_room_guard:start(Host).

-spec stop(binary()) -> ok.
stop(Host) ->
    ok = mod_warder_room_guard:stop(Host),
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, user_send_packet, ?PRIORITY),
    ejabberd_hooks:delete(c2s_presence_in, Host, ?MODULE, c2s_presence_in, ?PRIORITY),
    ejabberd_hooks:delete(c2s_copy_session, Host, ?MODULE, c2s_copy_session, ?PRIORITY).

%% @doc What a client sends.
-spec user_send_packet({stanza(), session()}) -> {stanza(), session()} | {stop, {drop, session()}}.
user_send_packet({Stanza, Session}) ->
    case context(Stanza) of
        {ok, Context} ->
            Place = fun() -> place_of_session(Stanza, Session) end,
            %% Whoever entered then would be the ghost of the session that has the same full JID now.
            case check(Context, Stanza, Place, fun() -> mod_warder_client:is_replaced(Session) end) of
                {pass, Passed} -> {Passed, Session};
                {refuse, Error} -> {stop, {drop, ejabberd_c2s:send(Session, xmpp:make_error(Stanza, Error))}};
                drop -> {stop, {drop, Session}}
            end;
        none ->
            {Stanza, Session}
    end.

%% @doc What comes to a client.
-spec c2s_presence_in(session(), presence()) -> session().
c2s_presence_in(Session, Presence) ->
    mod_warder_rooms:note(Presence, Session).

-spec c2s_copy_session(session(), session()) -> session().
c2s_copy_session(New, Old) ->
    mod_warder_rooms:copy(New, Old).

%% @doc What is routed, whoever sent it. Called for presences and iqs; waits where a worker has to be asked.
-spec filter(stanza()) -> stanza() | drop.
filter(Stanza) ->
    case is_asked_about(Stanza) andalso context(Stanza) of
        {ok, #{host := ServerHost} = Context} ->
            From = xmpp:get_from(Stanza),
            Place = fun() ->
                case mod_warder_rooms:has_occupant(ServerHost, xmpp:get_to(Stanza), From) of
                    true -> inside;
                    false -> outside
                end
            end,
            case check(Context, Stanza, Place, fun() -> false end) of
                {pass, Passed} ->
                    Passed;
                {refuse, Error} ->
                    ejabberd_router:route_error(Stanza, Error),
                    drop;
                drop ->
                    drop
            end;
        _ ->
            Stanza
    end.

is_asked_about(Stanza) ->
    xmpp:get_meta(Stanza, warder_join, none) =:= none.

%% Of the host to whose room the stanza goes; none where it could not be a join, or joins are not asked about.
context(#presence{type = available, to = #jid{luser = Room, lserver = Domain}}) when Room =/= <<>> ->
    context_of_domain(Domain);
context(#iq{type = Type, to = #jid{luser = Room, lserver = Domain, lresource = <<>>}} = Iq) when
    Room =/= <<>>, (Type =:= get orelse Type =:= set)
->
    case subscription(Iq) =/= none orelse xmpp:has_subtag(Iq, #muc_owner{}) of
        true -> context_of_domain(Domain);
        false -> none
    end;
context(_Stanza) ->
    none.

context_of_domain(Domain) ->
    case mod_warder_hosts:list() =/= [] andalso mod_warder_rooms:server_host(Domain) of
        {ok, Host} -> context_of_host(Host);
        _ -> none
    end.

%% @doc None where joins are not asked about.
-spec context_of_host(binary()) -> {ok, mod_warder_hosts:context()} | none.
context_of_host(Host) ->
    case mod_warder_hosts:find(Host) of
        {ok, #{settings := #{checks := #{join_check := true}}} = Context} -> {ok, Context};
        _ -> none
    end.

%% @doc Whether the stanza was asked about, and allowed, as just this.
-spec is_checked(stanza(), event()) -> boolean().
is_checked(Stanza, Event) ->
    xmpp:get_meta(Stanza, warder_join, none) =:= Event.

%% @doc Asks what has to be asked. `Place': of the sender, now. `IsGone': whether nobody is left who could enter. What
%% passes carries what it was asked about as.
-spec check(mod_warder_hosts:context(), stanza(), fun(() -> place()), fun(() -> boolean())) -> result().
check(Context, Stanza, Place, IsGone) ->
    mod_warder_decide:guarded(
        Context,
        join_check,
        mod_warder_decide:side(xmpp:get_from(Stanza)),
        fun() -> ask(Context, Stanza, question(Context, Stanza, Place()), Place, IsGone, ?MAX_QUESTIONS) end,
        fun(Fallback) -> without_question(Stanza, Fallback) end
    ).

ask(_Context, Stanza, none, _Place, _IsGone, _Left) ->
    {pass, xmpp:put_meta(Stanza, warder_join, inside)};
ask(_Context, _Stanza, {error, Error}, _Place, _IsGone, _Left) ->
    {refuse, Error};
ask(_Context, Stanza, _Question, _Place, _IsGone, 0) ->
    {refuse, too_fast(Stanza)};
ask(Context, Stanza, {Event, Request}, Place, IsGone, Left) ->
    Side = mod_warder_decide:side(xmpp:get_from(Stanza)),
    Verdict = mod_warder_decide:decide(Context, join_check, Side, Request, undefined),
    case IsGone() orelse mod_warder_verdict:refusal(join_check, Stanza, Verdict) of
        true ->
            drop;
        allow ->
            case question(Context, Stanza, Place()) of
                {Event, _} -> {pass, xmpp:put_meta(Stanza, warder_join, Event)};
                Other -> ask(Context, Stanza, Other, Place, IsGone, Left - 1)
            end;
        Refusal ->
            Refusal
    end.

%% @doc For who has asked often enough.
-spec too_fast(stanza()) -> stanza_error().
too_fast(Stanza) ->
    xmpp:err_resource_constraint(<<"The room is changing too fast">>, xmpp:get_lang(Stanza)).

%% @doc What a fallback means to a stanza; where it passes, the room looks again.
-spec without_question(stanza(), mod_warder_decide:verdict()) -> result().
without_question(Stanza, Fallback) ->
    case mod_warder_verdict:refusal(join_check, Stanza, Fallback) of
        allow -> {pass, xmpp:put_meta(Stanza, warder_join, inside)};
        Refusal -> Refusal
    end.

%% What this stanza would do, as things stand now; none when it enters nothing.
question(#{host := ServerHost}, Stanza, Place) ->
    Room = jid:remove_resource(xmpp:get_to(Stanza)),
    Creating = not mod_warder_rooms:exists(ServerHost, Room),
    case entering(Stanza, Place, Creating) of
        {What, User, Nick} ->
            {Event, _} = What,
            Request = #{
                <<"user">> => mod_warder_decide:jid(User),
                <<"room">> => mod_warder_decide:jid(Room),
                <<"nick">> => Nick,
                <<"event">> => atom_to_binary(Event),
                <<"creating">> => Creating
            },
            {What, Request};
        NoQuestion ->
            NoQuestion
    end.

entering(#presence{to = #jid{lresource = <<>>}}, _Place, false) ->
    %% The room says that it wants a nickname, or takes it for an occupant's.
    none;
entering(#presence{to = #jid{lresource = <<>>}} = Presence, _Place, true) ->
    %% mod_muc would make a room of it and then fail (XEP-0045, section 7.2.1).
    {error, xmpp:err_jid_malformed(<<"A nickname is needed">>, xmpp:get_lang(Presence))};
entering(#presence{}, inside, false) ->
    none;
entering(#presence{to = #jid{lresource = Nick}}, {inside, Nick}, false) ->
    none;
entering(#presence{from = From, to = #jid{lresource = Nick}}, {inside, _Other}, false) ->
    {{'nick-change', false}, From, Nick};
entering(#presence{from = From, to = #jid{lresource = Nick}}, _Place, Creating) ->
    {{join, Creating}, From, Nick};
entering(#iq{from = From} = Iq, _Place, Creating) ->
    case subscription(Iq) of
        #muc_subscribe{jid = undefined, nick = Nick} ->
            {{subscribe, Creating}, From, Nick};
        #muc_subscribe{jid = Other, nick = Nick} ->
            %% A moderator brings somebody in. He has no session in this, but a question is about a full JID.
            {{subscribe, Creating}, jid:replace_resource(Other, From#jid.resource), Nick};
        malformed ->
            {error, xmpp:err_bad_request(<<"This is no subscription">>, xmpp:get_lang(Iq))};
        none when Creating ->
            %% mod_muc makes a room for who would configure it, and he owns it.
            {{join, Creating}, From, <<>>};
        none ->
            none
    end.

%% MucSub, https://docs.ejabberd.im/developer/xmpp-clients-bots/extensions/muc-sub/
subscription(Iq) ->
    try xmpp:try_subtag(Iq, #muc_subscribe{}) of
        #muc_subscribe{} = Subscription -> Subscription;
        false -> none
    catch
        _:{xmpp_codec, _} -> malformed
    end.

place_of_session(Stanza, Session) ->
    case mod_warder_rooms:entered(xmpp:get_to(Stanza), Session) of
        {ok, Nick} -> {inside, Nick};
        none -> outside
    end.
