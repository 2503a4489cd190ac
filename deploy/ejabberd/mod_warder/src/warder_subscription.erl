%%% What a subscription stanza makes of a contact: RFC 6121, appendix A, for the item and the open request as rosters
%%% hold them. Knows neither rosters nor stanzas.
-module(warder_subscription).

-export([next/4]).
-export_type([direction/0, action/0, item/0, outcome/0]).

%% `out': the user sends it; `in': the contact does.
-type direction() :: out | in.
-type action() :: subscribe | subscribed | unsubscribe | unsubscribed.
-type item() :: #{
    name := binary(), subscription := none | from | to | both, ask := none | subscribe, groups := [binary()]
}.
%% `requests': whether the contact's request is open afterwards. `reply': what the server answers for the user.
-type outcome() :: #{
    item := item() | none,
    requests := boolean(),
    changed := boolean(),
    reply := subscribed | none
}.

-define(NO_ITEM, #{name => <<>>, subscription => none, ask => none, groups => []}).

%% @doc `Requests': whether a request of the contact is open.
-spec next(direction(), action(), item() | none, Requests :: boolean()) -> outcome().
next(Direction, Action, Item, Requests) ->
    #{subscription := Subscription, ask := Ask} = Known =
        case Item of
            none -> ?NO_ITEM;
            _ -> Item
        end,
    To = Subscription =:= to orelse Subscription =:= both,
    From = Subscription =:= from orelse Subscription =:= both,
    Before = {To, From, Ask, Requests},
    {NextTo, NextFrom, NextAsk, NextRequests} = After = step(Direction, Action, Before),
    #{
        item => item(Item, Known#{subscription := word(NextTo, NextFrom), ask := NextAsk}),
        requests => NextRequests,
        changed => After =/= Before,
        reply => reply(Direction, Action, From)
    }.

%% Somebody whose request is all that there is of him is no contact yet.
item(none, Item) when Item =:= ?NO_ITEM -> none;
item(_, Item) -> Item.

word(true, true) -> both;
word(true, false) -> to;
word(false, true) -> from;
word(false, false) -> none.

%% {whether the user sees the contact, and the other way round, what the user has asked, whether the contact has asked}
step(out, subscribe, {false, From, _, Requests}) -> {false, From, subscribe, Requests};
step(out, unsubscribe, {_, From, _, Requests}) -> {false, From, none, Requests};
step(out, subscribed, {To, _, Ask, true}) -> {To, true, Ask, false};
step(out, unsubscribed, {To, _, Ask, _}) -> {To, false, Ask, false};
step(in, subscribe, {To, false, Ask, _}) -> {To, false, Ask, true};
step(in, unsubscribe, {To, _, Ask, _}) -> {To, false, Ask, false};
step(in, subscribed, {_, From, subscribe, Requests}) -> {true, From, none, Requests};
step(in, unsubscribed, {_, From, _, Requests}) -> {false, From, none, Requests};
step(_, _, Unchanged) -> Unchanged.

%% Who has been let in is let in again.
reply(in, subscribe, true) -> subscribed;
reply(_, _, _) -> none.
