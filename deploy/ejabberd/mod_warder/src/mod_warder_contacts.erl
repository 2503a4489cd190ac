%%% What a subscription that has passed makes of the user's roster, and how those of a contact who goes are taken back. Asks
%%% nobody.
-module(mod_warder_contacts).

-export([change/2, take_back/4]).
%% For the process of the roster.
-export([step/5]).

-include("xmpp.hrl").

%% @doc `Seq': of the answer that allowed it, 0 for none. Whether there was a roster on any node.
-spec change(mod_warder_relations:event(), Seq :: non_neg_integer()) -> boolean().
change(#{user := {LUser, LServer} = User, contact := Contact} = Event, Seq) ->
    #{direction := Direction, action := Action, text := Text} = Event,
    _ = is_answer(Direction, Action) andalso mod_warder_open_requests:forget(User, Contact),
    Step = {?MODULE, step, [Contact, Direction, Action, Text]},
    mod_warder_roster_nodes:change(LUser, LServer, Seq, Step).

is_answer(out, Action) -> Action =:= subscribed orelse Action =:= unsubscribed;
is_answer(in, Action) -> Action =:= unsubscribe.

%% @private In the process of the roster.
-spec step(
    Contact :: binary(), warder_subscription:direction(), warder_subscription:action(), Text :: binary(), Roster
) -> Roster when Roster :: mod_warder_roster_items:roster().
step(Contact, Direction, Action, Text, #{items := Items, pending := Pending} = Roster) ->
    Item = maps:get(Contact, Items, none),
    Requests = is_map_key(Contact, Pending),
    #{item := Next, requests := NextRequests} = warder_subscription:next(Direction, Action, Item, Requests),
    with_requests(Contact, Text, Requests, NextRequests, with_item(Contact, Item, Next, Roster)).

with_item(_Contact, Item, Item, Roster) -> Roster;
with_item(Contact, _Item, Next, Roster) -> mod_warder_roster_items:with_item(Contact, Next, Roster).

with_requests(_Contact, _Text, Requests, Requests, Roster) -> Roster;
with_requests(Contact, Text, _, true, Roster) -> mod_warder_roster_items:with_pending(Contact, Text, Roster);
with_requests(Contact, _Text, _, false, Roster) -> mod_warder_roster_items:with_pending(Contact, none, Roster).

%% @doc The subscriptions of who is removed go both ways (RFC 6121, section 2.5.2).
-spec take_back({binary(), binary()}, Contact :: binary(), mod_warder_roster_items:item() | none, Requests :: boolean()) ->
    ok.
take_back({LUser, LServer}, Contact, Item, Requests) ->
    Granted = Requests orelse mod_warder_roster_items:may_see(Item),
    Asked = mod_warder_roster_items:sees(Item) orelse is_asking(Item),
    {User, To} = {jid:make(LUser, LServer), jid:decode(Contact)},
    lists:foreach(
        fun(Type) -> ejabberd_router:route(mod_warder_exempt:own(#presence{type = Type, from = User, to = To})) end,
        [unsubscribed || Granted] ++ [unsubscribe || Asked]
    ).

is_asking(#{ask := Ask}) -> Ask =:= subscribe;
is_asking(none) -> false.
