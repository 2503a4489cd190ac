%%% What a change of a roster means to the user's clients and to his contacts: the pushes, and the presence that each
%%% may see from now on, and what it may not see any more (RFC 6121, sections 2.1.6, 3 and 4). Each session of this
%%% node is told by itself, in its own process, which alone knows what it has shown; sessions elsewhere are told by
%%% their own node.
%%%
%%% The roster of the contact is refreshed on its own, before or after, here or on another server. Each side does what
%%% follows for it alone, and what the other one answers too early is made good by the other's own refresh:
%%%
%%%   the contact may see the user      the user's presence is sent. Whether the contact has him already does not matter
%%%   the user may see the contact      the contact is probed. If it does not know yet that it may answer, it is
%%%                                     silent, and sends its presence when it does
%%%   it may not any more               the contact gets `unavailable' from each of the user's resources
%%%   he may not any more               his clients get `unavailable' as if from the contact: they would show it as
%%%                                     online until it happened to say something else, if its own roster is never
%%%                                     refreshed
-module(mod_warder_roster_push).

-export([tell/5, told/2, shown/2, became_available/2, request/2, forward/1]).
-export_type([told/0]).

-include("logger.hrl").
-include("xmpp.hrl").

%% To a session, once the roster has been changed.
-type told() :: {mod_warder_roster, #{
    generation := pos_integer(),
    version := binary(),
    changes := [mod_warder_roster_items:change()],
    requests := [mod_warder_roster_items:request()]
}}.
-type state() :: ejabberd_c2s:state().

%% @doc Tells the user's sessions of this node. Waits for nobody.
-spec tell(
    LUser :: binary(),
    LServer :: binary(),
    mod_warder_roster_items:roster(),
    [mod_warder_roster_items:change()],
    [mod_warder_roster_items:request()]
) -> ok.
tell(_LUser, _LServer, _Roster, [], []) ->
    ok;
tell(LUser, LServer, #{generation := Generation, version := Version}, Changes, Requests) ->
    Told = #{generation => Generation, version => Version, changes => Changes, requests => Requests},
    lists:foreach(fun(Session) -> Session ! {mod_warder_roster, Told} end, sessions(LUser, LServer)).

sessions(LUser, LServer) ->
    [Session || {_, Session} <- ejabberd_sm:get_session_sids(LUser, LServer), node(Session) =:= node()].

%% @doc The session has just been given the roster of this generation, and is interested from now on.
-spec shown(non_neg_integer(), state()) -> state().
shown(Generation, State) ->
    note(shown, Generation, State).

%% @doc The session has just become available, by the roster of this generation.
-spec became_available(non_neg_integer(), state()) -> state().
became_available(Generation, State) ->
    note(present, Generation, State).

note(Key, Generation, State) ->
    State#{warder_roster => (maps:get(warder_roster, State, #{}))#{Key => Generation}}.

known(Key, State) ->
    maps:get(Key, maps:get(warder_roster, State, #{}), none).

%% @doc In the session's process: what it was told. Never raises, and keeps what was sent before something went wrong.
-spec told(told(), state()) -> state().
told({mod_warder_roster, #{generation := Generation, changes := Changes, requests := Requests} = Told}, State) ->
    Pushed =
        case known(shown, State) of
            Shown when is_integer(Shown), Shown < Generation -> shown(Generation, push(Told, State));
            _ -> State
        end,
    case Pushed of
        #{pres_last := _} ->
            Seen = known(present, Pushed),
            case Seen =:= none orelse Seen < Generation of
                true -> request(Requests, lists:foldl(fun exchange/2, became_available(Generation, Pushed), Changes));
                false -> Pushed
            end;
        _ ->
            Pushed
    end.

%% One item a push. Only the last leaves the client with the whole roster, so only it has the roster's version.
push(#{version := Version, changes := Changes}, State) ->
    Last = length(Changes),
    Numbered = lists:zip(lists:seq(1, Last), Changes),
    lists:foldl(
        fun({N, {Jid, _, New}}, Sent) ->
            Ver =
                case N of
                    Last -> Version;
                    _ -> <<Version/binary, "-", (integer_to_binary(N))/binary>>
                end,
            send(fun() -> push_of(mod_warder_roster_items:to_item(Jid, New), Ver, Sent) end, Sent)
        end,
        State,
        Numbered
    ).

push_of(Item, Ver, #{jid := Jid}) ->
    #iq{
        type = set,
        id = <<"push", (p1_rand:get_string())/binary>>,
        from = jid:remove_resource(Jid),
        to = Jid,
        sub_els = [#roster_query{ver = Ver, items = [Item]}]
    }.

%% @doc Shows the session who asks to see the user.
-spec request([mod_warder_roster_items:request()], state()) -> state().
request(Requests, State) ->
    lists:foldl(
        fun({Contact, Text}, Sent) -> send(fun() -> request_of(Contact, Text, Sent) end, Sent) end,
        State,
        Requests
    ).

request_of(Contact, Text, #{jid := Jid}) ->
    #presence{type = subscribe, from = jid:decode(Contact), to = jid:remove_resource(Jid), status = xmpp:mk_text(Text)}.

exchange({Jid, Old, New}, State) ->
    safely(
        fun() ->
            Contact = jid:decode(Jid),
            Shown =
                case {mod_warder_roster_items:may_see(Old), mod_warder_roster_items:may_see(New)} of
                    {false, true} -> ejabberd_c2s:process_info(State, {resend_presence, Contact});
                    {true, false} -> post(unavailable, Contact, State);
                    _ -> State
                end,
            case {mod_warder_roster_items:sees(Old), mod_warder_roster_items:sees(New)} of
                {false, true} -> post(probe, Contact, Shown);
                {true, false} -> hide(Contact, Shown);
                _ -> Shown
            end
        end,
        State
    ).

post(Type, Contact, #{jid := Jid, lserver := LServer} = State) ->
    Presence = own(#presence{type = Type, from = Jid, to = Contact}),
    case ejabberd_hooks:run_fold(privacy_check_packet, LServer, allow, [State, Presence, out]) of
        allow -> ejabberd_router:route(Presence);
        deny -> ok
    end,
    State.

%% Of a contact of this server it is known what it has; of any other its bare JID stands for all of it, as in the
%% answer to a probe (RFC 6121, section 4.3.2).
hide(#jid{luser = LUser, lserver = LServer} = Contact, State) ->
    From =
        case ejabberd_router:is_my_host(LServer) andalso ejabberd_sm:get_user_resources(LUser, LServer) of
            [_ | _] ->
                Present = ejabberd_sm:get_user_present_resources(LUser, LServer),
                [jid:replace_resource(Contact, Resource) || {_, Resource} <- Present];
            _ ->
                [Contact]
        end,
    lists:foldl(
        fun(Jid, #{jid := To} = Sent) ->
            ejabberd_c2s:send(Sent, own(#presence{type = unavailable, from = Jid, to = To}))
        end,
        State,
        From
    ).

own(Stanza) ->
    xmpp:put_meta(Stanza, warder, own).

send(Make, State) ->
    safely(fun() -> ejabberd_c2s:send(State, own(Make())) end, State).

safely(Do, State) ->
    try
        Do()
    catch
        Class:Reason:Stack ->
            ?ERROR_MSG("A session could not be told of a change of its roster: ~ts", [
                mod_warder_fault:text(Class, Reason, Stack)
            ]),
            State
    end.

%% @doc In the process of a session that was taken over by another: what it was told since is told to that one.
-spec forward(pid()) -> ok.
forward(Session) ->
    receive
        {mod_warder_roster, _} = Told ->
            Session ! Told,
            forward(Session)
    after 0 -> ok
    end.
