%%% The room's own look at who enters, where it is known for sure who is inside: what was not asked about as things are
%%% now is taken out and asked about, and sent again if it may enter. The room waits for nobody.
%%%
%%% That is rare. Somebody was thrown out while his change of status was under way; the room came or went between answer
%%% and entering; somebody of another server wants another nickname.
-module(mod_warder_room_guard).

-export([start/1, stop/1]).
-export([muc_filter_presence/3, muc_process_iq/2]).

-include("logger.hrl").
-include("xmpp.hrl").
-include("mod_muc_room.hrl").

%% Before anybody else acts on it.
-define(PRIORITY, 5).
%% How often one stanza is looked at by rooms that keep changing.
-define(MAX_ROUNDS, 3).
%% Against hangs only.
-define(PATIENCE_MS, 1000).

-spec start(binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(muc_filter_presence, Host, ?MODULE, muc_filter_presence, ?PRIORITY),
    ejabberd_hooks:add(muc_process_iq, Host, ?MODULE, muc_process_iq, ?PRIORITY).

-spec stop(binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(muc_filter_presence, Host, ?MODULE, muc_filter_presence, ?PRIORITY),
    ejabberd_hooks:delete(muc_process_iq, Host, ?MODULE, muc_process_iq, ?PRIORITY).

%% @doc A presence has reached the room.
-spec muc_filter_presence(presence() | drop, mod_muc_room:state(), Nick :: binary()) ->
    presence() | drop | {stop, drop}.
muc_filter_presence(#presence{type = available} = Presence, Room, Nick) ->
    case look(Presence, Room#state.server_host, fun() -> event(Presence, Room, Nick) end) of
        pass -> as_sent(Presence);
        taken -> {stop, drop}
    end;
muc_filter_presence(Presence, _Room, _Nick) ->
    Presence.

%% @doc An iq has reached the room.
-spec muc_process_iq(iq() | ignore, mod_muc_room:state()) -> iq() | ignore | {stop, ignore}.
muc_process_iq(#iq{sub_els = [Element]} = Iq, Room) when
    is_record(Element, muc_subscribe); is_record(Element, muc_owner)
->
    case look(Iq, Room#state.server_host, fun() -> event(Iq, Room) end) of
        pass -> as_sent(Iq);
        taken -> {stop, ignore}
    end;
muc_process_iq(Iq, _Room) ->
    Iq.

%% The room keeps presences, and shows them to all.
as_sent(Stanza) ->
    xmpp:del_meta(xmpp:del_meta(Stanza, warder_join), warder_rounds).

%% What this presence does here; none when it enters nothing.
event(#presence{from = From} = Presence, #state{users = Users} = Room, Nick) ->
    case maps:find(jid:tolower(From), Users) of
        {ok, #user{nick = Own}} when Nick =:= Own; Nick =:= <<>> -> none;
        {ok, #user{}} -> {'nick-change', false};
        error when Nick =:= <<>> -> none;
        error -> {join, is_made_by(Presence, Room)}
    end.

event(#iq{type = set, sub_els = [#muc_subscribe{}]} = Iq, Room) ->
    {subscribe, is_made_by(Iq, Room)};
event(#iq{sub_els = [#muc_owner{}]} = Iq, Room) ->
    case is_made_by(Iq, Room) of
        true -> {join, true};
        false -> none
    end;
event(#iq{}, _Room) ->
    none.

%% Whether there was no room before the stanza came.
is_made_by(Stanza, #state{just_created = true, users = Users, affiliations = Affiliations}) when
    map_size(Users) =:= 0
->
    case maps:get(jid:remove_resource(jid:tolower(xmpp:get_from(Stanza))), Affiliations, none) of
        owner -> true;
        {owner, _} -> true;
        _ -> false
    end;
is_made_by(_Stanza, _Room) ->
    false.

look(Stanza, Host, Event) ->
    case mod_warder_join:context_of_host(Host) of
        {ok, Context} ->
            mod_warder_decide:guarded(
                Context,
                join_check,
                mod_warder_decide:side(xmpp:get_from(Stanza)),
                fun() -> look_at(Context, Stanza, Event()) end,
                fun(Fallback) -> passed(answer(Stanza, mod_warder_join:without_question(Stanza, Fallback))) end
            );
        none ->
            pass
    end.

passed({pass, _}) -> pass;
passed(taken) -> taken.

look_at(_Context, _Stanza, none) ->
    pass;
look_at(Context, Stanza, Event) ->
    case mod_warder_join:is_checked(Stanza, Event) of
        true -> pass;
        false -> take(Context, Stanza, Event)
    end.

take(Context, Stanza, {_, Creating} = Event) ->
    ?DEBUG("Not asked about as ~p, so now:~n~ts", [Event, xmpp:pp(Stanza)]),
    Room = self(),
    %% Nobody has asked yet whether there may be this room.
    _ = Creating andalso (Room ! close_room_if_temporary_and_empty),
    _ = spawn(fun() ->
        _ = Creating andalso await_end(Room),
        again(Context, Stanza, Event)
    end),
    taken.

await_end(Room) ->
    Monitor = monitor(process, Room),
    receive
        {'DOWN', Monitor, process, Room, _} -> true
    after ?PATIENCE_MS -> demonitor(Monitor, [flush])
    end.

again(Context, Stanza, Event) ->
    Round = xmpp:get_meta(Stanza, warder_rounds, 0) + 1,
    Result =
        case Round > ?MAX_ROUNDS of
            true -> {refuse, mod_warder_join:too_fast(Stanza)};
            false -> mod_warder_join:check(Context, Stanza, fun() -> place(Event) end, fun() -> is_gone(Stanza) end)
        end,
    case answer(Stanza, Result) of
        {pass, Passed} -> ejabberd_router:route(xmpp:put_meta(Passed, warder_rounds, Round));
        taken -> ok
    end.

%% Where the room has seen who sent it.
place({'nick-change', _}) -> {inside, <<>>};
place(_Event) -> outside.

%% A client that has left before the answer would be in the room for ever.
is_gone(Stanza) ->
    #jid{luser = User, lserver = Server, lresource = Resource} = xmpp:get_from(Stanza),
    ejabberd_router:is_my_host(Server) andalso ejabberd_sm:get_session_pid(User, Server, Resource) =:= none.

answer(_Stanza, {pass, Passed}) ->
    {pass, Passed};
answer(Stanza, {refuse, Error}) ->
    ok = ejabberd_router:route_error(Stanza, Error),
    taken;
answer(_Stanza, drop) ->
    taken.
