%%% What a roster holds: made from a worker's answer, compared with the one before, and shown as ejabberd's own items.
%%% Knows neither where rosters are kept nor who is told.
-module(mod_warder_roster_items).

-export([from_answer/4, content/1, from_content/1, replaced/2, with_item/3, with_pending/3, differences/2, is_contact/3]).
-export([to_item/2, to_items/1, may_see/1, sees/1]).
-export_type([roster/0, content/0, item/0, change/0, request/0]).

-include("logger.hrl").
-include("xmpp.hrl").

%% `generation' grows with each change on this node and orders what is told of them; other nodes have their own. `seq'
%% is the number of the answer. `items' and `pending' are by the bare JID in its normal form; `pending' are requests
%% for a subscription, with their text, and `given' those of them that an answer named: they stay as long as the
%% answers name them, the others until they are answered.
-type item() :: #{
    name := binary(), subscription := none | from | to | both, ask := none | subscribe, groups := [binary()]
}.
-type roster() :: #{
    version := binary(),
    seq := non_neg_integer(),
    generation := non_neg_integer(),
    items := #{binary() => item()},
    pending := #{binary() => binary()},
    given := [binary()]
}.
%% What an answer said, without when and what came beside it.
-type content() :: #{
    version := binary(), items := #{binary() => item()}, pending := #{binary() => binary()}, given := [binary()]
}.
-type user() :: {LUser :: binary(), LServer :: binary()}.
-type change() :: {Contact :: binary(), Old :: item() | none, New :: item() | none}.
-type request() :: {Contact :: binary(), Text :: binary()}.

%% @doc The roster as a worker has answered it. What came by itself is kept from the one before.
-spec from_answer(warder_replies:roster(), Seq :: non_neg_integer(), user(), roster() | none) -> roster().
from_answer(#{version := Version, items := Given} = Answer, Seq, {LUser, LServer} = User, Old) ->
    Usable = [{Jid, item(Contact)} || #{jid := Said} = Contact <- Given, Jid <- usable(Said, User)],
    Unusable = length(Given) - length(Usable),
    Unusable > 0 andalso
        ?WARNING_MSG("~B contacts of ~ts@~ts have no usable JID; left out", [Unusable, LUser, LServer]),
    Items = maps:from_list(Usable),
    Named = maps:from_list([
        {Jid, maps:get(text, Request, <<>>)}
     || #{jid := Said} = Request <- maps:get(pending, Answer, []),
        Jid <- usable(Said, User),
        not may_see(maps:get(Jid, Items, none))
    ]),
    Own = maps:filter(fun(Jid, _) -> not may_see(maps:get(Jid, Items, none)) end, own_pending(Old)),
    #{
        version => Version,
        seq => Seq,
        generation => generation(),
        items => Items,
        pending => maps:merge(Own, Named),
        given => maps:keys(Named)
    }.

%% Sessions remember what they have shown, and may outlive what keeps rosters.
generation() ->
    erlang:unique_integer([monotonic, positive]).

own_pending(none) -> #{};
own_pending(#{pending := Pending, given := Given}) -> maps:without(Given, Pending).

item(Contact) ->
    #{
        name => maps:get(name, Contact, <<>>),
        subscription => maps:get(subscription, Contact),
        ask => maps:get(ask, Contact, none),
        groups => groups(maps:get(groups, Contact, []))
    }.

groups(Groups) ->
    lists:usort([Group || Group <- Groups, Group =/= <<>>]).

usable(Said, {LUser, LServer}) ->
    try jid:tolower(jid:decode(Said)) of
        Ljid ->
            Jid = jid:encode(Ljid),
            [Jid || is_contact(Jid, LUser, LServer)]
    catch
        error:{bad_jid, _} -> []
    end.

%% @doc Whether this JID, in its normal form, may stand in the user's roster: a bare one, and not his own.
-spec is_contact(binary(), LUser :: binary(), LServer :: binary()) -> boolean().
is_contact(Jid, LUser, LServer) ->
    binary:match(Jid, <<"/">>) =:= nomatch andalso Jid =/= <<LUser/binary, "@", LServer/binary>>.

-spec content(roster()) -> content().
content(#{version := Version, items := Items, pending := Pending, given := Given}) ->
    #{version => Version, items => Items, pending => maps:with(Given, Pending), given => lists:sort(Given)}.

%% @doc As it was last known, before any answer.
-spec from_content(content()) -> roster().
from_content(#{version := Version, items := Items, pending := Pending, given := Given}) ->
    #{
        version => Version,
        seq => 0,
        generation => generation(),
        items => Items,
        pending => Pending,
        given => Given
    }.

%% @doc The newer one in place of the older; where its content is the same, nothing needs to be told.
-spec replaced(roster() | none, roster()) -> {roster(), [change()], [request()]}.
replaced(Old, New) ->
    case differences(Old, New) of
        {[], []} when Old =/= none -> {New#{generation => maps:get(generation, Old)}, [], []};
        {Changes, Requests} -> {New, Changes, Requests}
    end.

%% @doc With this contact changed, or without it. The version is that of what it holds now; the next answer brings the
%% source's.
-spec with_item(binary(), item() | none, roster()) -> roster().
with_item(Jid, none, #{items := Items} = Roster) ->
    changed(Roster#{items => maps:remove(Jid, Items)});
with_item(Jid, #{groups := Groups} = Item, #{items := Items} = Roster) ->
    Kept = Item#{groups => groups(Groups)},
    Changed = changed(Roster#{items => Items#{Jid => Kept}}),
    case may_see(Kept) of
        true -> with_pending(Jid, none, Changed);
        false -> Changed
    end.

%% @doc With a request for a subscription that came by itself, or without the one that is there.
-spec with_pending(binary(), Text :: binary() | none, roster()) -> roster().
with_pending(Jid, none, #{pending := Pending, given := Given} = Roster) ->
    Roster#{pending => maps:remove(Jid, Pending), given => Given -- [Jid], generation => generation()};
with_pending(Jid, Text, #{pending := Pending} = Roster) ->
    Roster#{pending => Pending#{Jid => Text}, generation => generation()}.

changed(#{items := Items} = Roster) ->
    Roster#{version => digest(Items), generation => generation()}.

digest(Items) ->
    str:sha(term_to_binary(lists:sort(maps:to_list(Items)))).

%% @doc What is different, by JID; and the requests for a subscription that were not there.
-spec differences(roster() | none, roster()) -> {[change()], [request()]}.
differences(Earlier, #{items := New, pending := Pending}) ->
    {Old, Before} = shown(Earlier),
    Gone = [{Jid, Item, none} || {Jid, Item} <- maps:to_list(Old), not is_map_key(Jid, New)],
    Compared = [{Jid, maps:get(Jid, Old, none), Item} || {Jid, Item} <- maps:to_list(New)],
    Other = [Change || {_, Was, Is} = Change <- Compared, Was =/= Is],
    Asking = maps:to_list(maps:without(maps:keys(Before), Pending)),
    {lists:sort(Gone) ++ lists:sort(Other), lists:sort(Asking)}.

shown(none) -> {#{}, #{}};
shown(#{items := Items, pending := Pending}) -> {Items, Pending}.

%% @doc Whether the contact may see the user.
-spec may_see(item() | none) -> boolean().
may_see(#{subscription := Subscription}) -> Subscription =:= from orelse Subscription =:= both;
may_see(none) -> false.

%% @doc Whether the user may see the contact.
-spec sees(item() | none) -> boolean().
sees(#{subscription := Subscription}) -> Subscription =:= to orelse Subscription =:= both;
sees(none) -> false.

%% @doc As clients get it.
-spec to_item(binary(), item() | none) -> #roster_item{}.
to_item(Jid, none) ->
    #roster_item{jid = jid:decode(Jid), subscription = remove};
to_item(Jid, #{name := Name, subscription := Subscription, ask := Ask, groups := Groups}) ->
    #roster_item{jid = jid:decode(Jid), name = Name, subscription = Subscription, ask = asked(Ask), groups = Groups}.

asked(subscribe) -> subscribe;
asked(none) -> undefined.

-spec to_items(roster()) -> [#roster_item{}].
to_items(#{items := Items}) ->
    [to_item(Jid, Item) || {Jid, Item} <- lists:sort(maps:to_list(Items))].
