%%% Rosters that are kept elsewhere, as a client meets them: had before anything that it sends after its login is acted
%%% on, and served instead of mod_roster's own. Runs in the process of its session.
-module(mod_warder_roster_client).

-export([start/1, stop/1, reload/1]).
-export([c2s_session_opened/1, c2s_copy_session/2, c2s_terminated/2, user_send_packet/1, c2s_handle_info/2]).
-export([c2s_self_presence/1, c2s_post_auth_features/2]).

-include("xmpp.hrl").

%% Of its own hooks.
-define(MOD_ROSTER_SEQ, 50).
-define(HOOKS, [
    %% After the check whether it may open at all.
    {c2s_session_opened, c2s_session_opened, 90},
    {c2s_session_resumed, c2s_session_opened, 90},
    {c2s_copy_session, c2s_copy_session, 50},
    %% Before the session is closed.
    {c2s_terminated, c2s_terminated, 10},
    %% Before anything looks at what a client sends.
    {user_send_packet, user_send_packet, 1},
    {c2s_handle_info, c2s_handle_info, 50},
    %% After mod_roster.
    {c2s_self_presence, c2s_self_presence, 60},
    {c2s_post_auth_features, c2s_post_auth_features, 60}
]).

-type state() :: ejabberd_c2s:state().

-spec start(Host :: binary()) -> ok.
start(Host) ->
    lists:foreach(fun({Hook, Function, Seq}) -> ejabberd_hooks:add(Hook, Host, ?MODULE, Function, Seq) end, ?HOOKS),
    reload(Host).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    lists:foreach(fun({Hook, Function, Seq}) -> ejabberd_hooks:delete(Hook, Host, ?MODULE, Function, Seq) end, ?HOOKS),
    requests_of_mod_roster(Host, shown).

-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    case mod_warder_roster:is_on(Host) of
        true -> requests_of_mod_roster(Host, hidden);
        false -> requests_of_mod_roster(Host, shown)
    end.

%% Those that wait in its tables from before: it would show them to who becomes available, and nobody could answer them.
requests_of_mod_roster(Host, hidden) ->
    ejabberd_hooks:delete(c2s_self_presence, Host, mod_roster, c2s_self_presence, ?MOD_ROSTER_SEQ);
requests_of_mod_roster(Host, shown) ->
    _ = gen_mod:is_loaded(Host, mod_roster) andalso
        ejabberd_hooks:add(c2s_self_presence, Host, mod_roster, c2s_self_presence, ?MOD_ROSTER_SEQ),
    ok.

%% @private A session that is resumed may have come from another node.
-spec c2s_session_opened(state()) -> state().
c2s_session_opened(#{jid := #jid{luser = LUser, lserver = LServer}} = State) ->
    case mod_warder_roster:is_on(LServer) of
        true ->
            Ref = make_ref(),
            ok = mod_warder_roster_refresh:login(LServer, LUser, self(), Ref),
            State#{warder_roster => (maps:get(warder_roster, State, #{}))#{login => Ref}};
        false ->
            State
    end;
c2s_session_opened(State) ->
    State.

%% @private
-spec c2s_copy_session(state(), state()) -> state().
c2s_copy_session(State, #{warder_roster := Noted, sid := {_, Session}}) when node(Session) =:= node() ->
    State#{warder_roster => maps:remove(login, Noted)};
c2s_copy_session(State, #{warder_roster := Noted}) ->
    %% What another node has shown is not known here.
    State#{warder_roster => maps:map(fun(_, _) -> 0 end, maps:remove(login, Noted))};
c2s_copy_session(State, _Old) ->
    State.

%% @private
-spec c2s_terminated(state(), term()) -> state().
c2s_terminated(#{mgmt_state := resumed, user := User, server := Server, resource := Resource} = State, _Reason) ->
    case ejabberd_sm:get_session_pid(User, Server, Resource) of
        Session when is_pid(Session), Session =/= self() -> mod_warder_roster_push:forward(Session);
        _ -> ok
    end,
    State;
c2s_terminated(State, _Reason) ->
    State.

%% @private Whatever the client sends first waits for the roster: presence sent before would reach no contact, and
%% nothing would send it again.
-spec user_send_packet({stanza() | drop, state()}) -> {stanza() | drop, state()} | {stop, {drop, state()}}.
user_send_packet({drop, _} = Acc) ->
    Acc;
user_send_packet({Packet, State}) ->
    serve(Packet, hold(State)).

%% By a message that it asks for now: what has come before may be in a queue of the session's own (p1_server), where
%% nothing but its handling of messages finds it.
hold(#{warder_roster := #{login := Login} = Noted, jid := #jid{luser = LUser, lserver = LServer}} = State) ->
    Ref = make_ref(),
    ok = mod_warder_roster_refresh:wait(LServer, LUser, self(), Ref, Login),
    _ = mod_warder_roster:await(LServer, Ref),
    State#{warder_roster => maps:remove(login, Noted)};
hold(State) ->
    State.

serve(#iq{type = get, to = To, sub_els = [Query]} = Iq, #{jid := Jid, lserver := LServer} = State) ->
    IsOwn = jid:tolower(To) =:= jid:tolower(jid:remove_resource(Jid)),
    case IsOwn andalso mod_warder_roster:is_on(LServer) andalso read(Query) of
        #roster_query{items = []} = Asked -> {stop, {drop, answer(Iq, Asked, State)}};
        _ -> {Iq, State}
    end;
serve(Packet, State) ->
    {Packet, State}.

%% What nobody can read is refused by ejabberd itself.
read(#roster_query{} = Query) ->
    Query;
read(Query) ->
    try xmpp:get_ns(Query) =:= ?NS_ROSTER andalso xmpp:decode(Query) of
        Decoded -> Decoded
    catch
        error:{xmpp_codec, _} -> false
    end.

answer(#iq{lang = Lang} = Iq, Asked, #{jid := #jid{luser = LUser, lserver = LServer}} = State) ->
    %% Asking again is what clients do after an error.
    case mod_warder_roster:current(LUser, LServer) of
        {ok, #{generation := Generation} = Roster} ->
            Sent = ejabberd_c2s:send(State, result(Iq, Asked, LUser, LServer, Roster)),
            mod_warder_roster_push:shown(Generation, Sent);
        none ->
            Text = <<"The contact list cannot be had now; try again later">>,
            ejabberd_c2s:send(State, xmpp:make_error(Iq, xmpp:err_resource_constraint(Text, Lang)))
    end.

%% An empty result says that the client has it already (RFC 6121, section 2.6.3). What others add to a roster is not the
%% source's, and neither is the version of it.
result(Iq, #roster_query{ver = Known}, LUser, LServer, #{version := Version} = Roster) ->
    Own = mod_warder_roster_items:to_items(Roster),
    {Items, Ver} =
        case with_others(Own, ejabberd_hooks:run_fold(roster_get, LServer, [], [{LUser, LServer}])) of
            Own -> {Own, Version};
            All -> {All, <<Version/binary, "-", (str:sha(term_to_binary(lists:sort(All))))/binary>>}
        end,
    case Known of
        Ver -> xmpp:make_iq_result(Iq);
        _ -> xmpp:make_iq_result(Iq, #roster_query{ver = Ver, items = Items})
    end.

%% What is asked of all may not know the roster any more, or not yet.
with_others(Own, All) ->
    Known = maps:from_keys([jid:tolower(Jid) || #roster_item{jid = Jid} <- All], true),
    [Item || #roster_item{jid = Jid} = Item <- Own, not is_map_key(jid:tolower(Jid), Known)] ++ All.

%% @private
-spec c2s_handle_info(state(), term()) -> state() | {stop, state()}.
c2s_handle_info(State, {mod_warder_roster, _} = Told) ->
    {stop, mod_warder_roster_push:told(Told, State)};
c2s_handle_info(#{warder_roster := #{login := Ref} = Noted} = State, {warder_roster_had, Ref, _}) ->
    {stop, State#{warder_roster => maps:remove(login, Noted)}};
c2s_handle_info(State, {warder_roster_had, _, _}) ->
    {stop, State};
c2s_handle_info(State, _Info) ->
    State.

%% @private Who becomes available is sent the requests that wait for him (RFC 6121, section 3.1.3).
-spec c2s_self_presence({presence(), state()}) -> {presence(), state()}.
c2s_self_presence({_, #{pres_last := _}} = Acc) ->
    Acc;
c2s_self_presence({#presence{type = available, priority = Priority} = Presence, State} = Acc) ->
    #{jid := #jid{luser = LUser, lserver = LServer}} = State,
    case mod_warder_roster:is_on(LServer) andalso mod_warder_roster_state:get(LUser, LServer) of
        {ok, #{generation := Generation, pending := Pending}} ->
            Noted = mod_warder_roster_push:became_available(Generation, State),
            case Priority =:= undefined orelse Priority >= 0 of
                true -> {Presence, mod_warder_roster_push:request(lists:sort(maps:to_list(Pending)), Noted)};
                false -> {Presence, Noted}
            end;
        _ ->
            Acc
    end;
c2s_self_presence(Acc) ->
    Acc.

%% @private Versions are offered (RFC 6121, section 2.6.1), also where mod_roster has none.
-spec c2s_post_auth_features([xmpp_element()], Host :: binary()) -> [xmpp_element()].
c2s_post_auth_features(Features, Host) ->
    case mod_warder_roster:is_on(Host) andalso not lists:keymember(rosterver_feature, 1, Features) of
        true -> [#rosterver_feature{} | Features];
        false -> Features
    end.
