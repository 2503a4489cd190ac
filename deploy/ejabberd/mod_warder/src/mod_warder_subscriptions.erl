%%% Subscriptions between users: asked about before anything of them happens here, on their way out where they are sent
%%% and on their way in where they arrive, which are two questions. Taking one back always passes, and the workers are
%%% told. mod_roster hears of none.
-module(mod_warder_subscriptions).

-export([start/1, stop/1, reload/1]).
-export([answered/3, report/2, side/1, may_change/1]).
%% For hooks.
-export([user_send_packet/1, granted/1, roster_out_subscription/1, roster_in_subscription/2, remove_user/2]).
-export([without_pre_approval/2]).

-include("logger.hrl").
-include("xmpp.hrl").

-define(OPERATION, roster_subscription).
%% After what is denied as any stanza, before what acts on it.
-define(SEND_SEQ, 45).
%% After what users block by themselves, before mod_roster.
-define(ROSTER_SEQ, 45).
-define(MAX_REASON_BYTES, 200).
-define(IS_SUBSCRIPTION(Type),
    (Type =:= subscribe orelse Type =:= subscribed orelse Type =:= unsubscribe orelse Type =:= unsubscribed)
).

-type state() :: ejabberd_c2s:state().

-define(HOOKS, [
    {user_send_packet, user_send_packet, ?SEND_SEQ},
    %% Right before mod_roster.
    {user_send_packet, granted, 49},
    {roster_out_subscription, roster_out_subscription, ?ROSTER_SEQ},
    {roster_in_subscription, roster_in_subscription, ?ROSTER_SEQ},
    %% After mod_roster.
    {c2s_post_auth_features, without_pre_approval, 60},
    %% Before the sessions end.
    {remove_user, remove_user, ?ROSTER_SEQ}
]).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ok = mod_warder_open_requests:start(Host),
    ok = mod_warder_relations:start(Host),
    ok = mod_warder_requests:start(Host),
    lists:foreach(fun({Hook, Name, Seq}) -> ejabberd_hooks:add(Hook, Host, ?MODULE, Name, Seq) end, ?HOOKS).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    lists:foreach(fun({Hook, Name, Seq}) -> ejabberd_hooks:delete(Hook, Host, ?MODULE, Name, Seq) end, ?HOOKS),
    ok = mod_warder_requests:stop(Host),
    ok = mod_warder_relations:stop(Host),
    mod_warder_open_requests:stop(Host).

-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    mod_warder_open_requests:reload(Host).

context(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{roster := true}} = Context} -> Context;
        _ -> none
    end.

%% @doc A request that may go on: it is not asked about again. `Known': of the two, where the user is offline.
-spec answered(Seq :: non_neg_integer(), mod_warder_roster_nodes:known(), presence()) -> presence().
answered(Seq, Known, Presence) ->
    xmpp:put_meta(Presence, warder_answered, {Seq, Known}).

%% @private What a client sends.
-spec user_send_packet({stanza() | drop, state()}) -> {stanza() | drop, state()} | {stop, {drop, state()}}.
user_send_packet({#presence{type = Type} = Presence, #{lserver := LServer} = State} = Acc) when ?IS_SUBSCRIPTION(Type) ->
    Event = event(out, Presence),
    case not is_self(Event) andalso context(LServer) of
        #{} = Context -> send(Context, Event, Presence, State);
        _ -> Acc
    end;
user_send_packet(Acc) ->
    Acc.

send(_Context, #{action := Action} = Event, Presence, State)
    when Action =:= unsubscribe; Action =:= unsubscribed
->
    ok = mod_warder_relations:tell(Event),
    {Presence, State};
send(Context, Event, Presence, State) ->
    Act = fun(Verdict) -> sent(Verdict, Event, Presence, State) end,
    mod_warder_decide:guarded(
        Context,
        ?OPERATION,
        local,
        fun() ->
            case {may_change(Presence#presence.from), is_blocked(Presence, State)} of
                {false, _} -> {stop, {drop, refuse(Presence, forbidden(State), State)}};
                {true, true} -> {stop, {drop, refuse(Presence, blocked(State), State)}};
                {true, false} -> Act(mod_warder_relations:ask(Context, local, Event))
            end
        end,
        Act
    ).

%% @private From ejabberd 26.03 on, mod_roster itself looks at what is granted. It knows no requests, takes it for a grant
%% in advance (RFC 6121, section 3.4) and keeps it to itself; so it is not shown any.
-spec granted({stanza() | drop, state()}) -> {stanza() | drop, state()} | {stop, {presence(), state()}}.
granted({#presence{type = subscribed}, #{lserver := LServer}} = Acc) ->
    case context(LServer) =/= none andalso erlang:function_exported(mod_roster, user_send_packet, 1) of
        true -> {stop, Acc};
        false -> Acc
    end;
granted(Acc) ->
    Acc.

%% @private Nor is it offered.
-spec without_pre_approval([xmpp_element()], LServer :: binary()) -> [xmpp_element()].
without_pre_approval(Features, LServer) ->
    case context(LServer) of
        none -> Features;
        _ -> [Feature || Feature <- Features, element(1, Feature) =/= feature_pre_approval]
    end.

%% @doc Whether the operator lets the user change his contacts.
-spec may_change(jid:jid()) -> boolean().
may_change(#jid{lserver = LServer} = User) ->
    gen_mod:is_loaded(LServer, mod_roster) andalso
        acl:match_rule(LServer, mod_roster_opt:access(LServer), jid:remove_resource(User)) =:= allow.

%% What he blocks by himself is no question.
is_blocked(Presence, #{lserver := LServer} = State) ->
    ejabberd_hooks:run_fold(privacy_check_packet, LServer, allow, [State, Presence, out]) =:= deny.

forbidden(#{lang := Lang}) ->
    xmpp:err_forbidden(<<"Access denied by service policy">>, Lang).

blocked(#{lang := Lang}) ->
    xmpp:err_not_acceptable(<<"Your active privacy list has denied the routing of this stanza.">>, Lang).

sent(#{verdict := allow} = Verdict, _Event, Presence, State) ->
    {xmpp:put_meta(Presence, warder_seq, maps:get(seq, Verdict, 0)), State};
sent(Verdict, Event, Presence, State) ->
    ok = report(Event, Verdict),
    {stop, {drop, refuse(Presence, mod_warder_verdict:error_of(?OPERATION, Verdict), State)}}.

refuse(Presence, Error, State) ->
    ejabberd_c2s:send(State, mod_warder_exempt:own(xmpp:make_error(Presence, Error))).

%% @private What has passed on its way out, and what the operator sends for a user.
-spec roster_out_subscription(presence()) -> ok | stop.
roster_out_subscription(#presence{from = #jid{lserver = LServer}} = Presence) ->
    case context(LServer) of
        none ->
            ok;
        _ ->
            Event = event(out, Presence),
            _ = is_self(Event) orelse mod_warder_contacts:change(Event, seq(Presence)),
            stop
    end.

%% @private What arrives. Whether the user is to see it.
-spec roster_in_subscription(boolean(), presence()) -> boolean() | {stop, boolean()}.
roster_in_subscription(Acc, #presence{to = #jid{lserver = LServer}} = Presence) ->
    case context(LServer) of
        none ->
            Acc;
        Context ->
            Do = fun() -> {stop, arrived(event(in, Presence), Presence)} end,
            mod_warder_decide:guarded(Context, ?OPERATION, side(Presence#presence.from), Do, fun(_) -> {stop, false} end)
    end.

arrived(#{user := User, contact := Contact, action := Action} = Event, Presence) ->
    Next = next(known(Event, Presence), Event),
    case is_self(Event) of
        true ->
            false;
        false when Action =:= subscribe ->
            case is_answered(Presence) orelse is_settled(Next) of
                true ->
                    %% Nobody here may know of it when he comes back.
                    _ = is_change(Next) andalso mod_warder_open_requests:keep(User, Contact, maps:get(text, Event)),
                    act(Next, Event, Presence);
                false ->
                    ok = mod_warder_requests:ask(Presence, Event),
                    false
            end;
        false ->
            ok = withdraw(Action, User, Contact),
            %% The server's own come whether there is something to change or not.
            _ = (is_change(Next) orelse not is_servers_own(Presence)) andalso mod_warder_relations:tell(Event),
            act(Next, Event, Presence)
    end.

withdraw(unsubscribe, User, Contact) ->
    ok = mod_warder_requests:withdraw(User, Contact),
    mod_warder_open_requests:forget(User, Contact);
withdraw(_Action, _User, _Contact) ->
    ok.

known(#{user := {LUser, LServer}, contact := Contact}, Presence) ->
    case {mod_warder_roster_nodes:contact(LUser, LServer, Contact), xmpp:get_meta(Presence, warder_answered, none)} of
        {unknown, {_, Known}} -> Known;
        {Known, _} -> Known
    end.

next(unknown, _Event) -> unknown;
next({Item, Requests}, #{action := Action}) -> warder_subscription:next(in, Action, Item, Requests).

is_answered(Presence) ->
    xmpp:get_meta(Presence, warder_answered, none) =/= none.

%% Nothing new for the user: he has granted it before, or has it before him already.
is_settled(unknown) -> false;
is_settled(#{changed := IsChange}) -> not IsChange.

%% Of who is offline nobody here knows.
is_change(unknown) -> true;
is_change(#{changed := IsChange}) -> IsChange.

%% What a client sends has come from an address.
is_servers_own(#presence{from = #jid{lserver = Domain}} = Presence) ->
    ejabberd_router:is_my_host(Domain) andalso xmpp:get_meta(Presence, ip, none) =:= none.

act(unknown, _Event, _Presence) ->
    true;
act(#{changed := IsChange, reply := Reply}, #{action := Action} = Event, Presence) ->
    ok = reply(Reply, Event),
    case IsChange andalso mod_warder_contacts:change(Event, seq(Presence)) of
        %% A request that is open is shown with the roster.
        true -> Action =/= subscribe;
        false -> IsChange
    end.

reply(none, _Event) ->
    ok;
reply(subscribed, #{user := {LUser, LServer}, contact := Contact}) ->
    To = jid:decode(Contact),
    Granted = #presence{type = subscribed, from = jid:make(LUser, LServer), to = To},
    ok = ejabberd_router:route(mod_warder_exempt:own(Granted)),
    _ = [ejabberd_c2s:resend_presence(Session, To) || {_, Session} <- ejabberd_sm:get_session_sids(LUser, LServer)],
    ok.

%% @private Of who was offline the source alone knows whom to tell.
-spec remove_user(binary(), binary()) -> ok.
remove_user(User, Server) ->
    {LUser, LServer} = {jid:nodeprep(User), jid:nameprep(Server)},
    case context(LServer) =/= none andalso mod_warder_roster_nodes:roster(LUser, LServer) of
        {ok, #{items := Items, pending := Pending}} ->
            %% In a process of its own, as whoever removes an account is not to wait for its contacts.
            _ = spawn(fun() ->
                lists:foreach(
                    fun(Contact) ->
                        Item = maps:get(Contact, Items, none),
                        mod_warder_contacts:take_back({LUser, LServer}, Contact, Item, is_map_key(Contact, Pending))
                    end,
                    maps:keys(maps:merge(Items, Pending))
                )
            end),
            ok;
        _ ->
            ok
    end.

seq(Presence) ->
    case xmpp:get_meta(Presence, warder_answered, none) of
        {Seq, _} -> Seq;
        none -> xmpp:get_meta(Presence, warder_seq, 0)
    end.

event(Direction, #presence{from = From, to = To, type = Action, status = Status}) ->
    {User, Contact} =
        case Direction of
            out -> {From, To};
            in -> {To, From}
        end,
    #{
        user => {User#jid.luser, User#jid.lserver},
        contact => jid:encode(jid:remove_resource(jid:tolower(Contact))),
        direction => Direction,
        action => Action,
        text => xmpp:get_text(Status)
    }.

is_self(#{user := {LUser, LServer}, contact := Contact}) ->
    not mod_warder_roster_items:is_contact(Contact, LUser, LServer).

%% @doc Whose question it is: of who is at home on this server, or of others.
-spec side(jid:jid()) -> mod_warder_options:side().
side(#jid{lserver = Domain}) ->
    case ejabberd_router:is_my_route(Domain) of
        true -> local;
        false -> remote
    end.

%% @doc In the log, where what failed is already.
-spec report(mod_warder_relations:event(), mod_warder_decide:verdict()) -> ok.
report(_Event, #{failure := _}) ->
    ok;
report(#{user := {LUser, LServer}, contact := Contact, direction := Direction, action := Action}, Verdict) ->
    Why =
        case Verdict of
            #{reason := Reason} -> [" (", string:slice(Reason, 0, ?MAX_REASON_BYTES), ")"];
            _ -> ""
        end,
    ?INFO_MSG("roster-subscription: ~s for ~s ~s, ~ts@~ts to ~ts~ts", [
        maps:get(verdict, Verdict), Action, Direction, LUser, LServer, Contact, Why
    ]).
