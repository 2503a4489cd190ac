%%% Rosters that are kept elsewhere, as this server and its clients meet them: had before anything that a client sends after
%%% its login is acted on, and served instead of mod_roster's own. mod_roster stays loaded: ejabberd needs it where a client
%%% sends a subscription, and it serves what concerns nobody's own roster.
-module(mod_warder_roster).

-export([start/1, stop/1, reload/1]).
-export([current/2, changed_here/3, apply_item/5, change/4]).
-export([c2s_session_opened/1, c2s_copy_session/2, c2s_terminated/2, user_send_packet/1, c2s_handle_info/2]).
-export([c2s_self_presence/1, roster_get/2, roster_get_jid_info/4, c2s_post_auth_features/2]).

-include("logger.hrl").
-include("xmpp.hrl").

%% Before anything looks at what a client sends.
-define(HOLD_SEQ, 1).
%% After mod_roster, before what adds to anybody's roster.
-define(SERVE_SEQ, 60).
%% Over the budget of the question, for who has the answer and for what is told of it.
-define(SLACK_MS, 1000).

-define(HOOKS, [
    %% After the check whether it may open at all.
    {c2s_session_opened, c2s_session_opened, 90},
    {c2s_session_resumed, c2s_session_opened, 90},
    {c2s_copy_session, c2s_copy_session, 50},
    %% Before the session is closed.
    {c2s_terminated, c2s_terminated, 10},
    {user_send_packet, user_send_packet, ?HOLD_SEQ},
    {c2s_handle_info, c2s_handle_info, 50},
    {c2s_self_presence, c2s_self_presence, ?SERVE_SEQ},
    {roster_get, roster_get, ?SERVE_SEQ},
    {roster_get_jid_info, roster_get_jid_info, ?SERVE_SEQ},
    {c2s_post_auth_features, c2s_post_auth_features, ?SERVE_SEQ}
]).

-type state() :: ejabberd_c2s:state().
-type roster() :: mod_warder_roster_items:roster().

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ok = mod_warder_roster_sup:start_host(Host),
    lists:foreach(fun({Hook, Function, Seq}) -> ejabberd_hooks:add(Hook, Host, ?MODULE, Function, Seq) end, ?HOOKS).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    lists:foreach(fun({Hook, Function, Seq}) -> ejabberd_hooks:delete(Hook, Host, ?MODULE, Function, Seq) end, ?HOOKS),
    mod_warder_roster_sup:stop_host(Host).

-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    mod_warder_roster_refresh:reload(Host).

%% @doc The roster that is known, or else asked for, also of who is not online here. Takes no longer than the budget.
-spec current(LUser :: binary(), LServer :: binary()) -> {ok, roster()} | none.
current(LUser, LServer) ->
    case mod_warder_roster_state:get(LUser, LServer) of
        {ok, Roster} -> {ok, Roster};
        none -> ask(LUser, LServer, mod_warder_roster_state:is_online(LUser, LServer))
    end.

ask(LUser, LServer, true) ->
    Ref = make_ref(),
    ok = mod_warder_roster_refresh:ask(LServer, LUser, self(), Ref),
    _ = await(LServer, Ref),
    mod_warder_roster_state:get(LUser, LServer);
ask(LUser, LServer, false) ->
    case mod_warder_roster_ask:ask(LUser, LServer, <<"login">>) of
        {ok, #{roster := Given, seq := Seq}} ->
            ok = mod_warder_roster_ask:succeeded(LServer),
            {ok, mod_warder_roster_items:from_answer(Given, Seq, {LUser, LServer}, none)};
        {error, Failure} ->
            _ = mod_warder_roster_ask:fall_back(LServer, Failure, false),
            none
    end.

%% The host's process ends where its module is stopped, and with it what was asked.
await(LServer, Ref) ->
    Monitor = mod_warder_roster_refresh:monitor(LServer),
    HasRoster =
        receive
            {warder_roster_had, Ref, Had} -> Had;
            {'DOWN', Monitor, process, _, _} -> false
        after budget(LServer) + ?SLACK_MS -> false
        end,
    _ = demonitor(Monitor, [flush]),
    HasRoster.

budget(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{budgets_ms := #{roster_refresh := BudgetMs}}}} -> BudgetMs;
        none -> 0
    end.

%% @doc The user's roster is about to be changed as an answer of this number (0 for none) allowed: what was asked before and is
%% answered later does not bring the old one back. Before the change itself.
-spec changed_here(LUser :: binary(), LServer :: binary(), Seq :: non_neg_integer()) -> ok.
changed_here(LUser, LServer, Seq) ->
    _ = change(LUser, LServer, Seq, fun(Roster) -> Roster end),
    ok.

%% @doc Shows a change that was accepted: the contact as he is now, or `none' for one that is removed. The user's sessions on
%% this node are told; those on other nodes when the change is published. `none': the user is not online here, or has no
%% roster.
-spec apply_item(
    LUser :: binary(), LServer :: binary(), Contact :: binary(), mod_warder_roster_items:item() | none, Seq :: non_neg_integer()
) -> {ok, roster()} | none.
apply_item(LUser, LServer, Contact, Item, Seq) ->
    change(LUser, LServer, Seq, fun(Roster) -> mod_warder_roster_items:with_item(Contact, Item, Roster) end).

%% @doc As apply_item/5, by a function of the roster, of which mod_warder_roster_items has the parts. It runs in the process of the
%% user's roster.
-spec change(LUser :: binary(), LServer :: binary(), Seq :: non_neg_integer(), fun((roster()) -> roster())) ->
    {ok, roster()} | none.
change(LUser, LServer, Seq, Change) ->
    try mod_warder_roster_refresh:user(LServer, LUser) of
        {ok, User} -> mod_warder_roster_user:change(User, Seq, Change);
        none -> none
    catch
        exit:Reason ->
            ?ERROR_MSG("The roster of ~ts@~ts could not be changed here: ~p", [LUser, LServer, Reason]),
            none
    end.

%% @private A session that is resumed may have come from another node.
-spec c2s_session_opened(state()) -> state().
c2s_session_opened(#{jid := #jid{luser = LUser, lserver = LServer}} = State) ->
    case is_on(LServer) of
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

%% @private Whatever the client sends first waits for the roster: presence sent before would reach no contact, and nothing
%% would send it again.
-spec user_send_packet({stanza() | drop, state()}) -> {stanza() | drop, state()} | {stop, {drop, state()}}.
user_send_packet({drop, _} = Acc) ->
    Acc;
user_send_packet({Packet, State}) ->
    serve(Packet, hold(State)).

hold(#{warder_roster := #{login := Ref} = Noted, lserver := LServer} = State) ->
    _ = await(LServer, Ref),
    State#{warder_roster => maps:remove(login, Noted)};
hold(State) ->
    State.

serve(#iq{type = get, to = To, sub_els = [Query]} = Iq, #{jid := Jid, lserver := LServer} = State) ->
    IsOwn = jid:tolower(To) =:= jid:tolower(jid:remove_resource(Jid)),
    case IsOwn andalso is_on(LServer) andalso read(Query) of
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
    case current(LUser, LServer) of
        {ok, #{generation := Generation} = Roster} ->
            mod_warder_roster_push:shown(Generation, ejabberd_c2s:send(State, result(Iq, Asked, LUser, LServer, Roster)));
        none ->
            Text = <<"The contact list cannot be had now; try again later">>,
            ejabberd_c2s:send(State, xmpp:make_error(Iq, xmpp:err_resource_constraint(Text, Lang)))
    end.

%% An empty result says that the client has it already (RFC 6121, section 2.6.3). What others add to a roster is not the
%% source's, and neither is the version of it.
result(Iq, #roster_query{ver = Known}, LUser, LServer, #{version := Version} = Roster) ->
    Own = mod_warder_roster_items:to_items(Roster),
    {Items, Ver} =
        case ejabberd_hooks:run_fold(roster_get, LServer, [], [{LUser, LServer}]) of
            Own -> {Own, Version};
            All -> {All, <<Version/binary, "-", (str:sha(term_to_binary(lists:sort(All))))/binary>>}
        end,
    case Known of
        Ver -> xmpp:make_iq_result(Iq);
        _ -> xmpp:make_iq_result(Iq, #roster_query{ver = Ver, items = Items})
    end.

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
    case is_on(LServer) andalso mod_warder_roster_state:get(LUser, LServer) of
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

%% @private Asked at each presence, so what is not there is not asked for: who is online and has no roster has no contacts.
-spec roster_get([#roster_item{}], {LUser :: binary(), LServer :: binary()}) -> [#roster_item{}].
roster_get(Others, {LUser, LServer}) ->
    case is_on(LServer) of
        true -> own_items(LUser, LServer) ++ [Item || #roster_item{mix_channel = #mix_roster_channel{}} = Item <- Others];
        false -> Others
    end.

own_items(LUser, LServer) ->
    case roster_of(LUser, LServer) of
        {ok, Roster} -> mod_warder_roster_items:to_items(Roster);
        none -> []
    end.

roster_of(LUser, LServer) ->
    case mod_warder_roster_state:get(LUser, LServer) of
        {ok, Roster} ->
            {ok, Roster};
        none ->
            case mod_warder_roster_state:is_online(LUser, LServer) of
                true -> none;
                false -> current(LUser, LServer)
            end
    end.

%% @private
-spec roster_get_jid_info(Acc, LUser :: binary(), LServer :: binary(), jid:jid() | jid:ljid()) -> Acc when
    Acc :: {none | from | to | both, none | in | out | both, Groups :: [binary()]}.
roster_get_jid_info(Acc, User, Server, Jid) ->
    LServer = jid:nameprep(Server),
    case is_on(LServer) of
        true -> info(jid:nodeprep(User), LServer, jid:encode(jid:remove_resource(jid:tolower(Jid))));
        false -> Acc
    end.

info(LUser, LServer, Contact) ->
    case mod_warder_roster_state:is_online(LUser, LServer) of
        true ->
            relation(
                mod_warder_roster_state:item(LUser, LServer, Contact),
                fun() -> mod_warder_roster_state:is_pending(LUser, LServer, Contact) end
            );
        false ->
            case current(LUser, LServer) of
                {ok, #{items := Items, pending := Pending}} ->
                    relation(maps:get(Contact, Items, none), fun() -> is_map_key(Contact, Pending) end);
                none ->
                    {none, none, []}
            end
    end.

relation(none, IsPending) -> {none, asked(none, IsPending()), []};
relation(#{subscription := both, ask := Ask, groups := Groups}, _) -> {both, asked(Ask, false), Groups};
relation(#{subscription := Subscription, ask := Ask, groups := Groups}, IsPending) ->
    {Subscription, asked(Ask, IsPending()), Groups}.

asked(none, false) -> none;
asked(none, true) -> in;
asked(subscribe, false) -> out;
asked(subscribe, true) -> both.

%% @private Versions are offered (RFC 6121, section 2.6.1), also where mod_roster has none.
-spec c2s_post_auth_features([xmpp_element()], Host :: binary()) -> [xmpp_element()].
c2s_post_auth_features(Features, Host) ->
    case is_on(Host) andalso not lists:keymember(rosterver_feature, 1, Features) of
        true -> [#rosterver_feature{} | Features];
        false -> Features
    end.

is_on(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{roster := IsOn}}} -> IsOn;
        none -> false
    end.
