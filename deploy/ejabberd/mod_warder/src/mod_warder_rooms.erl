%%% What is known of rooms and of who is in them without waiting for any room: where a room belongs, whether there is
%%% one, who is inside, and which rooms a client's session has entered. Knows nothing of questions.
%%%
%%% What is found here may be overtaken by what happens in the room at the same time; only the room knows for sure.
-module(mod_warder_rooms).

-export([server_host/1, exists/2, has_occupant/3, entered/2, note/2, copy/2]).

-include("xmpp.hrl").
-include("mod_muc.hrl").

%% A room is its bare JID, whatever resource comes with it.
-type room() :: jid:jid().
-type session() :: ejabberd_c2s:state().

%% Asking another node of the cluster what its rooms have written down takes no longer.
-define(NODE_TIMEOUT_MS, 1000).
%% Against hangs only.
-define(FORGETTING_MS, 1000).
-define(PAUSE_MS, 5).
%% XEP-0045, section 7.2.2: the presence is one's own.
-define(SELF_PRESENCE, 110).

%% @doc The virtual host whose rooms are at this domain.
-spec server_host(Domain :: binary()) -> {ok, binary()} | none.
server_host(Domain) ->
    try ejabberd_router:host_of_route(Domain) of
        %% That is where accounts are.
        Domain -> none;
        Host -> of_rooms(Host, Domain)
    catch
        error:{unregistered_route, _} -> none;
        error:{invalid_domain, _} -> none
    end.

of_rooms(Host, Domain) ->
    try lists:member(Domain, gen_mod:get_module_opt_hosts(Host, mod_muc)) of
        true -> {ok, Host};
        false -> none
    catch
        error:{module_not_loaded, mod_muc, _} -> none
    end.

%% @doc Also one that sleeps in the database and wakes when somebody comes.
-spec exists(ServerHost :: binary(), room()) -> boolean().
exists(ServerHost, #jid{luser = Name, lserver = Domain}) ->
    find(Name, Domain, ?FORGETTING_MS) =/= error orelse mod_muc:restore_room(ServerHost, Domain, Name) =/= error.

%% mod_muc takes a moment to forget a room that has ended; what is sent there until then is lost.
find(Name, Domain, LeftMs) ->
    case mod_muc:find_online_room(Name, Domain) of
        {ok, Room} when node(Room) =:= node(), LeftMs > 0 ->
            case is_process_alive(Room) of
                true ->
                    {ok, Room};
                false ->
                    timer:sleep(?PAUSE_MS),
                    find(Name, Domain, LeftMs - ?PAUSE_MS)
            end;
        Found ->
            Found
    end.

%% @doc Whether this full JID is in the room; where rooms are kept in SQL, whether any session of the user is.
-spec has_occupant(ServerHost :: binary(), room(), jid:jid()) -> boolean().
has_occupant(ServerHost, #jid{luser = Name, lserver = Domain}, #jid{} = Jid) ->
    {User, Server, Resource} = jid:tolower(Jid),
    case mod_muc:find_online_room(Name, Domain) of
        error ->
            false;
        {ok, Room} ->
            case gen_mod:ram_db_mod(ServerHost, mod_muc) of
                mod_muc_mnesia ->
                    Written = #muc_online_users{us = {User, Server}, resource = Resource, room = Name, host = Domain},
                    is_written(node(Room), Written);
                _ ->
                    lists:member({Name, Domain}, mod_muc:get_online_rooms_by_user(ServerHost, User, Server))
            end
    end.

%% Each node has its own table, of the rooms that live there.
is_written(Node, Written) when Node =:= node() ->
    ets:match_object(muc_online_users, Written) =/= [];
is_written(Node, Written) ->
    try
        erpc:call(Node, ets, match_object, [muc_online_users, Written], ?NODE_TIMEOUT_MS) =/= []
    catch
        %% Who is not known to be inside is asked about.
        error:{erpc, _} -> false;
        error:{exception, _, _} -> false
    end.

%% @doc Under which nickname the session is in the room.
-spec entered(room(), session()) -> {ok, Nick :: binary()} | none.
entered(#jid{luser = Name, lserver = Domain}, #{warder_rooms := #{} = Rooms}) ->
    case Rooms of
        #{{Name, Domain} := Nick} -> {ok, Nick};
        _ -> none
    end;
entered(_Room, _Session) ->
    none.

%% @doc A presence has come to the session: a room tells whom it lets in, and whom it has let go.
-spec note(presence(), session()) -> session().
note(#presence{type = available, from = From} = Presence, Session) ->
    #jid{luser = Name, lserver = Domain, lresource = Nick} = From,
    %% Whoever is elsewhere can say what he likes.
    case is_own(Presence) andalso server_host(Domain) of
        {ok, _} -> Session#{warder_rooms => (rooms(Session))#{{Name, Domain} => Nick}};
        _ -> Session
    end;
note(#presence{type = unavailable, from = #jid{luser = Name, lserver = Domain, lresource = Nick}}, Session) ->
    case rooms(Session) of
        #{{Name, Domain} := Nick} = Rooms -> Session#{warder_rooms => maps:remove({Name, Domain}, Rooms)};
        _ -> Session
    end;
note(_Presence, Session) ->
    Session.

%% @doc The session goes on in another process.
-spec copy(To :: session(), From :: session()) -> session().
copy(To, #{warder_rooms := Rooms}) -> To#{warder_rooms => Rooms};
copy(To, _From) -> To.

rooms(Session) ->
    maps:get(warder_rooms, Session, #{}).

is_own(Presence) ->
    case xmpp:get_subtag(Presence, #muc_user{}) of
        #muc_user{status_codes = Codes} -> lists:member(?SELF_PRESENCE, Codes);
        false -> false
    end.
