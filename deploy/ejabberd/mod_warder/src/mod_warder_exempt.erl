%%% What is never checked, whatever is configured. Each reason here has a test of its own.
-module(mod_warder_exempt).

-export([reason/3, own/1, is_from_joined_room/1]).

-include("xmpp.hrl").

-type reason() ::
    kind
    | own
    | error
    | 'iq-result'
    | unavailable
    | probe
    | unsubscribe
    | unsubscribed
    | self
    | carbon
    | replay
    | broadcast
    | 'room-copy'.

%% @doc Why this is not to be checked there; none when it is.
-spec reason(#{message | presence | iq => true}, Hook :: atom(), stanza()) -> reason() | none.
reason(Kinds, Hook, Stanza) ->
    case maps:is_key(element(1, Stanza), Kinds) of
        true -> by_type(Hook, Stanza);
        false -> kind
    end.

%% @doc What Warder itself sends.
-spec own(stanza()) -> stanza().
own(Stanza) ->
    xmpp:put_meta(Stanza, warder, own).

by_type(_Hook, #message{type = error}) -> error;
by_type(_Hook, #presence{type = error}) -> error;
by_type(_Hook, #iq{type = error}) -> error;
by_type(_Hook, #iq{type = result}) -> 'iq-result';
%% Taking back a subscription must always be possible; a lost unavailable leaves ghosts; a probe is the server's own.
by_type(_Hook, #presence{type = Type}) when
    Type =:= unavailable; Type =:= probe; Type =:= unsubscribe; Type =:= unsubscribed
->
    Type;
by_type(Hook, Stanza) ->
    by_meta(Hook, Stanza, xmpp:get_meta(Stanza)).

by_meta(_Hook, _Stanza, #{warder := own}) -> own;
by_meta(_Hook, _Stanza, #{carbon_copy := true}) -> carbon;
by_meta(_Hook, _Stanza, #{from_offline := true}) -> replay;
by_meta(Hook, Stanza, _Meta) -> by_address(Hook, Stanza, xmpp:get_from(Stanza), xmpp:get_to(Stanza)).

by_address(_Hook, _Stanza, #jid{luser = User, lserver = Server}, #jid{luser = User, lserver = Server}) ->
    self;
by_address(send, _Stanza, _From, _To) ->
    none;
by_address(_Hook, Stanza, From, To) ->
    case {mod_warder_client:is_replaying(To), Stanza} of
        {true, _} -> replay;
        {false, #iq{}} -> none;
        {false, #presence{}} -> of_presence(Stanza, From, To);
        {false, #message{}} -> of_room(Stanza, From)
    end.

of_presence(Stanza, From, To) ->
    case is_broadcast(Stanza, From, To) of
        true -> broadcast;
        false -> of_room(Stanza, From)
    end.

%% A room checks what its occupants send to it, once; its copies to the others are not checked again.
of_room(Stanza, #jid{lserver = Domain}) ->
    IsCopy =
        mod_warder_hosts:find(Domain) =:= none andalso
            (mod_warder_rooms:server_host(Domain) =/= none orelse
                (is_copied(Stanza) andalso is_from_joined_room(Stanza))),
    case IsCopy of
        true -> 'room-copy';
        false -> none
    end.

is_copied(#presence{}) -> true;
is_copied(#message{type = groupchat}) -> true;
is_copied(#message{sub_els = Elements}) -> lists:any(fun is_archived/1, Elements).

is_archived(Element) ->
    xmpp:get_ns(Element) =:= ?NS_MAM_2 andalso xmpp:get_name(Element) =:= <<"result">>.

%% @doc Whether the recipient has entered the room that this comes from. Only his own presence in it tells: anybody can
%% send a stanza that looks like a room's.
-spec is_from_joined_room(stanza()) -> boolean().
is_from_joined_room(Stanza) ->
    mod_warder_client:has_entered(xmpp:get_to(Stanza), xmpp:get_from(Stanza)).

%% What a session sends on to every contact, and to those who probe. The contacts have been approved, which is a
%% subscription's question. A client's own stanzas come from its full JID; what comes from the bare one, the server
%% made.
is_broadcast(#presence{type = Type}, #jid{lserver = Server, lresource = Resource} = From, To) ->
    case ejabberd_router:is_my_host(Server) of
        true when Resource =:= <<>> -> true;
        true when Type =:= available -> is_subscribed(From, To);
        _ -> false
    end.

is_subscribed(#jid{luser = User, lserver = Server}, To) ->
    {Subscription, _, _} = ejabberd_hooks:run_fold(roster_get_jid_info, Server, {none, none, []}, [User, Server, To]),
    Subscription =:= both orelse Subscription =:= from.
