%%% Rosters that are kept elsewhere, for this server: what it asks of anybody's roster is answered from there instead
%%% of from mod_roster's tables. mod_roster stays loaded: ejabberd needs it where a client sends a subscription, and it
%%% serves what concerns nobody's own roster. What clients meet is in mod_warder_roster_client.
-module(mod_warder_roster).

-export([start/1, stop/1, reload/1]).
-export([is_on/1, await/2, current/2, change/4]).
-export([roster_get/2, roster_get_jid_info/4]).

-include("logger.hrl").
-include("xmpp.hrl").

%% After mod_roster, before what adds to anybody's roster.
-define(SEQ, 60).
%% Over the budget of the question, for who has the answer and for what is told of it.
-define(SLACK_MS, 1000).

-type roster() :: mod_warder_roster_items:roster().

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ok = mod_warder_roster_known:start(Host),
    ok = mod_warder_roster_sup:start_host(Host),
    ejabberd_hooks:add(roster_get, Host, ?MODULE, roster_get, ?SEQ),
    ejabberd_hooks:add(roster_get_jid_info, Host, ?MODULE, roster_get_jid_info, ?SEQ),
    mod_warder_roster_client:start(Host).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    ok = mod_warder_roster_client:stop(Host),
    ejabberd_hooks:delete(roster_get, Host, ?MODULE, roster_get, ?SEQ),
    ejabberd_hooks:delete(roster_get_jid_info, Host, ?MODULE, roster_get_jid_info, ?SEQ),
    ok = mod_warder_roster_sup:stop_host(Host),
    mod_warder_roster_known:stop(Host).

-spec reload(Host :: binary()) -> ok.
reload(Host) ->
    ok = mod_warder_roster_known:reload(Host),
    ok = mod_warder_roster_refresh:reload(Host),
    mod_warder_roster_client:reload(Host).

%% @doc The roster that is known, or else asked for, also of who is not online here; without an answer what was last
%% known. Takes half a second more than the budget at most.
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
    case mod_warder_roster_ask:ask(LUser, LServer, <<"login">>, false) of
        {ok, #{roster := Given, seq := Seq}} ->
            ok = mod_warder_roster_ask:succeeded(LServer),
            {ok, mod_warder_roster_items:from_answer(Given, Seq, {LUser, LServer}, none)};
        {error, Failure, Known} ->
            _ = mod_warder_roster_ask:fall_back(LServer, Failure, Known =/= none),
            Known
    end.

%% @doc Waits for what mod_warder_roster_refresh was asked for under this reference: whether there is a roster. The
%% host's process ends where its module is stopped, and with it what was asked.
-spec await(LServer :: binary(), reference()) -> boolean().
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

%% @doc Shows a change that was accepted as an answer of this number (0 for none): what was asked before and is
%% answered later does not bring the old one back. The function makes the roster that is shown, of the parts that
%% mod_warder_roster_items has for it, in the process of the user's roster; where it leaves the roster as it is, nobody
%% is told anything. The user's sessions on this node are told. `none': he is not online here, or has no roster.
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

%% @private Asked at each presence, so what is not there is not asked for: who is online and has no roster has no
%% contacts.
-spec roster_get([#roster_item{}], {LUser :: binary(), LServer :: binary()}) -> [#roster_item{}].
roster_get(Others, {LUser, LServer}) ->
    case is_on(LServer) of
        true -> own_items(LUser, LServer) ++ lists:filter(fun is_channel/1, Others);
        false -> Others
    end.

%% What mod_mix_pam adds.
is_channel(#roster_item{mix_channel = Channel}) ->
    Channel =/= undefined.

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

%% @doc Whether this host's rosters are kept elsewhere.
-spec is_on(LServer :: binary()) -> boolean().
is_on(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{roster := IsOn}}} -> IsOn;
        none -> false
    end.
