%%% A contact that a client adds, renames, regroups or removes: asked about first, then done. Nothing has changed before the
%%% answer, and mod_roster hears of none. What comes by another way, such as the operator's commands, is nobody's to refuse:
%%% it is shown until the source says otherwise.
-module(mod_warder_roster_set).

-export([start/1, stop/1]).
%% For hooks, and for the processes of rosters.
-export([user_send_packet/1, roster_process_item/2, set/4, remove/2, replace/3]).

-include("logger.hrl").
-include("xmpp.hrl").
-include("mod_roster.hrl").

-define(OPERATION, roster_set).
%% Before it is on its way to mod_roster.
-define(SEND_SEQ, 45).
%% After all that change the item.
-define(ITEM_SEQ, 90).
%% What the workers take.
-define(MAX_TEXT_BYTES, 1023).
-define(MAX_GROUPS, 1000).
-define(MAX_REASON_BYTES, 200).

-type state() :: ejabberd_c2s:state().
%% As the workers are asked about it.
-type change() :: #{contact := binary(), name := binary(), groups := [binary()]} | #{contact := binary(), remove := true}.

-spec start(Host :: binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, user_send_packet, ?SEND_SEQ),
    ejabberd_hooks:add(roster_process_item, Host, ?MODULE, roster_process_item, ?ITEM_SEQ).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, user_send_packet, ?SEND_SEQ),
    ejabberd_hooks:delete(roster_process_item, Host, ?MODULE, roster_process_item, ?ITEM_SEQ).

context(LServer) ->
    case mod_warder_hosts:find(LServer) of
        {ok, #{settings := #{roster := true}} = Context} -> Context;
        _ -> none
    end.

%% @private What a client sends.
-spec user_send_packet({stanza() | drop, state()}) -> {stanza() | drop, state()} | {stop, {drop, state()}}.
user_send_packet({#iq{type = set, to = To, sub_els = [Query]} = Iq, #{jid := Jid, lserver := LServer} = State} = Acc) ->
    IsOwn = jid:tolower(To) =:= jid:tolower(jid:remove_resource(Jid)) andalso xmpp:get_ns(Query) =:= ?NS_ROSTER,
    %% Who may change nothing here hears so from mod_roster.
    case IsOwn andalso mod_warder_subscriptions:may_change(Jid) andalso context(LServer) of
        #{} = Context -> {stop, {drop, ejabberd_c2s:send(State, answer(Context, Iq, Jid))}};
        _ -> Acc
    end;
user_send_packet(Acc) ->
    Acc.

%% Nobody is left without an answer.
answer(Context, Iq, Jid) ->
    mod_warder_decide:guarded(
        Context,
        ?OPERATION,
        local,
        fun() ->
            case prepare(Iq, Jid) of
                {ok, Change} -> decided(ask(Context, Change, Jid), Iq, Change, Jid);
                {error, Error} -> xmpp:make_error(Iq, Error)
            end
        end,
        fun(_) -> xmpp:make_error(Iq, #stanza_error{type = wait, reason = 'internal-server-error'}) end
    ).

prepare(#iq{sub_els = [Query], lang = Lang}, #jid{luser = LUser, lserver = LServer} = Jid) ->
    case read(xmpp:encode(Query), jid:encode(jid:remove_resource(jid:tolower(Jid)))) of
        {error, Type, Reason, Text} ->
            {error, error(Type, Reason, Text, Lang)};
        #{contact := Contact} = Change ->
            case mod_warder_roster_state:get(LUser, LServer) of
                %% What a contact becomes depends on what he was.
                none ->
                    Text = <<"The contact list cannot be had now; try again later">>,
                    {error, xmpp:err_resource_constraint(Text, Lang)};
                {ok, #{items := Items}} when is_map_key(remove, Change), not is_map_key(Contact, Items) ->
                    {error, error(modify, 'item-not-found', <<>>, Lang)};
                {ok, _} ->
                    {ok, Change}
            end
    end.

error(Type, Reason, Text, Lang) ->
    #stanza_error{type = Type, reason = Reason, text = xmpp:mk_text(Text, Lang)}.

%% What is asked about: RFC 6121, section 2.3.3, with the errors that are named there.
-spec read(fxml:xmlel(), User :: binary()) -> change() | {error, atom(), atom(), binary()}.
read(#xmlel{children = Children}, User) ->
    case fxml:remove_cdata(Children) of
        [#xmlel{name = <<"item">>} = Item] -> read_item(is_of_roster(Item), Item, User);
        _ -> one_is_needed()
    end.

is_of_roster(Item) ->
    lists:member(fxml:get_tag_attr_s(<<"xmlns">>, Item), [<<>>, ?NS_ROSTER]).

one_is_needed() -> {error, modify, 'bad-request', <<"One contact is needed">>}.

read_item(false, _Item, _User) ->
    one_is_needed();
read_item(true, Item, User) ->
    Name = fxml:get_tag_attr_s(<<"name">>, Item),
    case {contact(fxml:get_tag_attr_s(<<"jid">>, Item)), fxml:get_tag_attr_s(<<"subscription">>, Item)} of
        {error, _} ->
            {error, modify, 'bad-request', <<"The contact has no usable JID">>};
        {{ok, User}, _} ->
            {error, cancel, 'not-allowed', <<"Nobody is his own contact">>};
        {{ok, Contact}, <<"remove">>} ->
            #{contact => Contact, remove => true};
        {_, _} when byte_size(Name) > ?MAX_TEXT_BYTES ->
            {error, modify, 'not-acceptable', <<"The name is too long">>};
        {{ok, Contact}, _} ->
            case groups(Item) of
                {ok, Groups} -> #{contact => Contact, name => Name, groups => Groups};
                {error, Reason, Text} -> {error, modify, Reason, Text}
            end
    end.

contact(Given) ->
    try jid:decode(Given) of
        #jid{lresource = <<>>} = Contact -> {ok, jid:encode(jid:tolower(Contact))};
        #jid{} -> error
    catch
        error:{bad_jid, _} -> error
    end.

groups(#xmlel{children = Children}) ->
    Groups = [fxml:get_tag_cdata(Group) || #xmlel{name = <<"group">>} = Group <- Children],
    case lists:any(fun(Group) -> Group =:= <<>> orelse byte_size(Group) > ?MAX_TEXT_BYTES end, Groups) of
        true -> {error, 'not-acceptable', <<"A group has no name, or one that is too long">>};
        false when length(Groups) > ?MAX_GROUPS -> {error, 'not-acceptable', <<"These are too many groups">>};
        false ->
            case length(lists:usort(Groups)) =:= length(Groups) of
                true -> {ok, Groups};
                false -> {error, 'bad-request', <<"A group is named twice">>}
            end
    end.

ask(Context, #{contact := Contact} = Change, Jid) ->
    About = #{<<"user">> => jid:encode(jid:remove_resource(jid:tolower(Jid))), <<"contact">> => Contact},
    Request =
        case Change of
            #{remove := true} -> About#{<<"remove">> => true};
            #{name := <<>>, groups := Groups} -> About#{<<"groups">> => Groups};
            #{name := Name, groups := Groups} -> About#{<<"name">> => Name, <<"groups">> => Groups}
        end,
    %% A name or groups in a removal are no answer to it.
    Verify = fun(#{verdict := Word}) -> Word =/= modify orelse not is_map_key(remove, Change) end,
    mod_warder_decide:ask(Context, ?OPERATION, local, Request, Verify).

decided(#{verdict := Word} = Verdict, Iq, Change, Jid) when Word =:= allow; Word =:= modify ->
    case apply_change(Change, Verdict, Jid) of
        true ->
            xmpp:make_iq_result(Iq);
        false ->
            Text = <<"The contact list could not be stored">>,
            xmpp:make_error(Iq, error(wait, 'internal-server-error', Text, Iq#iq.lang));
        not_found ->
            xmpp:make_error(Iq, error(modify, 'item-not-found', <<>>, Iq#iq.lang))
    end;
decided(#{verdict := Word} = Verdict, Iq, #{contact := Contact}, Jid) ->
    Why =
        case Verdict of
            #{reason := Reason} -> [" (", string:slice(Reason, 0, ?MAX_REASON_BYTES), ")"];
            _ -> ""
        end,
    ?INFO_MSG("roster-set: ~s for ~ts about ~ts~ts", [Word, jid:encode(jid:remove_resource(Jid)), Contact, Why]),
    xmpp:make_error(Iq, mod_warder_verdict:error_of(?OPERATION, Verdict)).

apply_change(#{contact := Contact, remove := true}, Verdict, #jid{luser = LUser, lserver = LServer}) ->
    case mod_warder_roster_nodes:contact(LUser, LServer, Contact) of
        {#{} = Item, Requests} ->
            ok = mod_warder_open_requests:forget({LUser, LServer}, Contact),
            IsDone = change(LUser, LServer, Verdict, {?MODULE, remove, [Contact]}),
            _ = IsDone andalso mod_warder_contacts:take_back({LUser, LServer}, Contact, Item, Requests),
            IsDone;
        _ ->
            not_found
    end;
apply_change(#{contact := Contact} = Change, Verdict, #jid{luser = LUser, lserver = LServer}) ->
    Item =
        case Verdict of
            #{verdict := modify, item := Given} -> Given;
            _ -> Change
        end,
    Set = [Contact, maps:get(name, Item, <<>>), maps:get(groups, Item, [])],
    change(LUser, LServer, Verdict, {?MODULE, set, Set}).

change(LUser, LServer, Verdict, Step) ->
    mod_warder_roster_nodes:change(LUser, LServer, maps:get(seq, Verdict, 0), Step).

%% @private In the process of the roster, as the others below.
-spec set(binary(), binary(), [binary()], Roster) -> Roster when Roster :: mod_warder_roster_items:roster().
set(Contact, Name, Groups, #{items := Items} = Roster) ->
    Old = maps:get(Contact, Items, #{subscription => none, ask => none}),
    mod_warder_roster_items:with_item(Contact, Old#{name => Name, groups => Groups}, Roster).

%% @private
-spec remove(binary(), Roster) -> Roster when Roster :: mod_warder_roster_items:roster().
remove(Contact, Roster) ->
    mod_warder_roster_items:with_pending(Contact, none, mod_warder_roster_items:with_item(Contact, none, Roster)).

%% @private
-spec replace(binary(), mod_warder_roster_items:item() | none, Roster) -> Roster when
    Roster :: mod_warder_roster_items:roster().
replace(Contact, Item, Roster) ->
    mod_warder_roster_items:with_item(Contact, Item, Roster).

%% @private What mod_roster is about to store, in the midst of its transaction.
-spec roster_process_item(#roster{}, binary()) -> #roster{}.
roster_process_item(#roster{us = {LUser, LServer}, jid = Jid, subscription = Subscription} = Stored, LServer) ->
    case context(LServer) of
        none ->
            ok;
        _ ->
            Contact = jid:encode(jid:remove_resource(jid:tolower(Jid))),
            Item =
                case Subscription of
                    remove -> none;
                    _ -> item(Stored)
                end,
            spawn(fun() -> mod_warder_roster_nodes:change(LUser, LServer, 0, {?MODULE, replace, [Contact, Item]}) end)
    end,
    Stored;
roster_process_item(Stored, _LServer) ->
    Stored.

item(#roster{name = Name, subscription = Subscription, ask = Ask, groups = Groups}) ->
    #{name => Name, subscription => Subscription, ask => asked(Ask), groups => Groups}.

asked(Ask) when Ask =:= out; Ask =:= both; Ask =:= subscribe -> subscribe;
asked(_) -> none.
