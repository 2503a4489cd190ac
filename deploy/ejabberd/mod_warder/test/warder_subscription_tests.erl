%%% The states of a subscription and what each stanza makes of them: the tables of RFC 6121, appendix A.
-module(warder_subscription_tests).

-include_lib("eunit/include/eunit.hrl").

%% `none_out': and the user has asked; `none_in': and the contact has asked.
-define(STATES, [none, none_out, none_in, none_both, to, to_in, from, from_out, both]).

%% What becomes of each state, in that order.
after_stanza(out, subscribe) -> [none_out, none_out, none_both, none_both, to, to_in, from_out, from_out, both];
after_stanza(out, unsubscribe) -> [none, none, none_in, none_in, none, none_in, from, from, from];
after_stanza(out, subscribed) -> [none, none_out, from, from_out, to, both, from, from_out, both];
after_stanza(out, unsubscribed) -> [none, none_out, none, none_out, to, to, none, none_out, to];
after_stanza(in, subscribe) -> [none_in, none_both, none_in, none_both, to_in, to_in, from, from_out, both];
after_stanza(in, unsubscribe) -> [none, none_out, none, none_out, to, to, none, none_out, to];
after_stanza(in, subscribed) -> [none, to, none_in, to_in, to, to_in, from, both, both];
after_stanza(in, unsubscribed) -> [none, none, none_in, none_in, none, none_in, from, from, from].

state(none) -> {item(none, none), false};
state(none_out) -> {item(none, subscribe), false};
state(none_in) -> {item(none, none), true};
state(none_both) -> {item(none, subscribe), true};
state(to) -> {item(to, none), false};
state(to_in) -> {item(to, none), true};
state(from) -> {item(from, none), false};
state(from_out) -> {item(from, subscribe), false};
state(both) -> {item(both, none), false}.

item(Subscription, Ask) ->
    #{name => <<"Bob">>, subscription => Subscription, ask => Ask, groups => [<<"Chess">>]}.

every_stanza_in_every_state_test_() ->
    [
        {lists:flatten(io_lib:format("~s ~s in ~s", [Action, Direction, Before])), fun() ->
            {Item, Requests} = state(Before),
            #{item := Next, requests := NextRequests, changed := IsChange} =
                warder_subscription:next(Direction, Action, Item, Requests),
            ?assertEqual({After, Before =/= After}, {name_of({Next, NextRequests}), IsChange})
        end}
     || Direction <- [out, in],
        Action <- [subscribe, unsubscribe, subscribed, unsubscribed],
        {Before, After} <- lists:zip(?STATES, after_stanza(Direction, Action))
    ].

name_of(State) ->
    [Name] = [Name || Name <- ?STATES, state(Name) =:= State],
    Name.

whose_request_is_all_that_there_is_of_him_is_no_contact_test() ->
    #{item := none, requests := true} = warder_subscription:next(in, subscribe, none, false),
    #{item := none, requests := false} = warder_subscription:next(out, unsubscribed, none, true).

who_is_asked_or_let_in_becomes_a_contact_test() ->
    #{item := #{subscription := none, ask := subscribe, name := <<>>, groups := []}} =
        warder_subscription:next(out, subscribe, none, false),
    #{item := #{subscription := from, ask := none}} = warder_subscription:next(out, subscribed, none, true).

only_who_has_been_let_in_is_let_in_again_test() ->
    [
        begin
            {Item, Requests} = state(State),
            #{reply := Reply} = warder_subscription:next(in, subscribe, Item, Requests),
            ?assertEqual({State, lists:member(State, [from, from_out, both])}, {State, Reply =:= subscribed})
        end
     || State <- ?STATES
    ].
