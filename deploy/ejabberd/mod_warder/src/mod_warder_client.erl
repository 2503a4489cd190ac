%%% What is known of a client's session beyond what ejabberd says of it: whether another has taken its place, which
%%% rooms of others it has entered, and whether it is ending. Knows nothing of questions.
-module(mod_warder_client).

-export([start/1, stop/1]).
-export([is_replaced/1, sent/2, has_entered/2, is_replaying/1]).
-export([c2s_terminated/2, c2s_copy_session/2, c2s_session_resumed/1]).

-include("xmpp.hrl").

-type session() :: ejabberd_c2s:state().

%% Of a session, in its own process and, for whoever has something for it on any node, with its entry in the table of
%% sessions.
-define(ENTERED, warder_entered).
-define(ENDING, warder_ending).
%% Each session could make its entry as long as it likes.
-define(MAX_ENTERED, 1000).
%% Before those that route anew what the session leaves (50).
-define(PRIORITY, 40).

-spec start(binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(c2s_terminated, Host, ?MODULE, c2s_terminated, ?PRIORITY),
    ejabberd_hooks:add(c2s_copy_session, Host, ?MODULE, c2s_copy_session, ?PRIORITY),
    ejabberd_hooks:add(c2s_session_resumed, Host, ?MODULE, c2s_session_resumed, ?PRIORITY).

-spec stop(binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(c2s_terminated, Host, ?MODULE, c2s_terminated, ?PRIORITY),
    ejabberd_hooks:delete(c2s_copy_session, Host, ?MODULE, c2s_copy_session, ?PRIORITY),
    ejabberd_hooks:delete(c2s_session_resumed, Host, ?MODULE, c2s_session_resumed, ?PRIORITY).

%% @doc Whether a newer session has the same full JID.
-spec is_replaced(session()) -> boolean().
is_replaced(#{sid := Sid, user := User, server := Server, resource := Resource}) ->
    lists:any(fun(Other) -> Other > Sid end, ejabberd_sm:get_session_sids(User, Server, Resource)).

%% @doc The session itself has sent this presence.
-spec sent(presence(), session()) -> session().
sent(#presence{type = available, to = #jid{luser = User, lserver = Server, lresource = <<_, _/binary>>}}, Session) ->
    Entered = entered(Session),
    IsNews =
        not lists:member({User, Server}, Entered) andalso mod_warder_hosts:find(Server) =:= none andalso
            mod_warder_rooms:server_host(Server) =:= none,
    case IsNews of
        true -> now_entered([{User, Server} | lists:sublist(Entered, ?MAX_ENTERED - 1)], Session);
        false -> Session
    end;
sent(#presence{type = unavailable, from = From, to = To}, Session) ->
    {User, Server, _} = jid:tolower(To),
    case {jid:remove_resource(jid:tolower(From)), entered(Session)} of
        {_, []} -> Session;
        %% It goes, and is gone for everybody.
        {{User, Server, <<>>}, _} -> now_entered([], Session);
        {_, Entered} -> now_entered(lists:delete({User, Server}, Entered), Session)
    end;
sent(_Presence, Session) ->
    Session.

entered(Session) ->
    maps:get(?ENTERED, Session, []).

now_entered(Entered, #{user := User, server := Server, resource := Resource} = Session) ->
    _ = Entered =/= entered(Session) andalso ejabberd_sm:set_user_info(User, Server, Resource, ?ENTERED, Entered),
    Session#{?ENTERED => Entered}.

%% @doc Whether that session has sent its presence to that room, and not taken it back.
-spec has_entered(Session :: jid:jid(), Room :: jid:jid()) -> boolean().
has_entered(#jid{lresource = <<>>}, _Room) ->
    false;
has_entered(#jid{luser = User, lserver = Server, lresource = Resource}, #jid{luser = Name, lserver = Domain}) ->
    case ejabberd_sm:get_user_info(User, Server, Resource) of
        offline -> false;
        Info -> lists:member({Name, Domain}, proplists:get_value(?ENTERED, Info, []))
    end.

%% @doc Whether this process is a session of that user that ends and leaves to others what it could not deliver, which
%% was looked at when it came.
-spec is_replaying(jid:jid()) -> boolean().
is_replaying(#jid{luser = User, lserver = Server}) ->
    get(?ENDING) =:= {User, Server}.

-spec c2s_terminated(session(), term()) -> session().
c2s_terminated(#{jid := #jid{luser = User, lserver = Server}} = Session, _Reason) ->
    _ = put(?ENDING, {User, Server}),
    Session;
c2s_terminated(Session, _Reason) ->
    Session.

%% @doc The session goes on in another process.
-spec c2s_copy_session(session(), session()) -> session().
c2s_copy_session(New, Old) ->
    New#{?ENTERED => entered(Old)}.

-spec c2s_session_resumed(session()) -> session().
c2s_session_resumed(Session) ->
    Entered = entered(Session),
    now_entered(Entered, maps:remove(?ENTERED, Session)).
