%%% Which answer about a roster is applied, and when another one is needed.
-module(warder_roster_order_tests).

-include_lib("eunit/include/eunit.hrl").

-import(warder_roster_order, [new/0, mark/2, wants_ask/1, is_tried/1, ask/1, answered/3, failed/1, changed_here/2]).
-import(warder_roster_order, [reset/1, is_due/1, asking/1]).

%% An answer to a question that nothing came between.
answered_at_once(Sequence, Order) ->
    {Ticket, Asking} = ask(Order),
    answered(Ticket, Sequence, Asking).

nothing_is_asked_for_before_something_has_changed_test() ->
    ?assertNot(wants_ask(new())).

one_ask_is_enough_while_nothing_changes_test() ->
    Due = mark(none, new()),
    ?assert(wants_ask(Due)),
    {_, Asking} = ask(Due),
    ?assertNot(wants_ask(Asking)).

an_answer_that_knows_the_change_ends_it_also_one_that_was_asked_for_before_test() ->
    {First, Asking} = ask(mark(none, new())),
    {true, TooSoon} = answered(First, 6, mark(7, Asking)),
    ?assert(is_due(TooSoon)),
    {true, Known} = answered_at_once(7, TooSoon),
    ?assertNot(is_due(Known)),
    {Third, Again} = ask(Known),
    {true, Ended} = answered(Third, 9, mark(8, Again)),
    ?assertNot(is_due(Ended)).

a_change_that_the_applied_answer_knows_already_is_none_test() ->
    {true, Applied} = answered_at_once(9, mark(none, new())),
    ?assertNot(is_due(mark(9, Applied))),
    ?assert(is_due(mark(10, Applied))).

what_has_no_number_needs_an_answer_that_was_asked_for_later_test() ->
    {First, Asking} = ask(mark(none, new())),
    {true, Before} = answered(First, 9, mark(none, Asking)),
    ?assert(is_due(Before)),
    {true, After} = answered_at_once(9, Before),
    ?assertNot(is_due(After)).

an_older_answer_is_dropped_and_one_of_the_same_number_that_was_asked_for_before_or_of_nobody_who_is_due_test() ->
    {First, One} = ask(mark(none, new())),
    {Second, Two} = ask(One),
    {true, Applied} = answered(Second, 5, Two),
    {false, Older} = answered(First, 4, Applied),
    {false, NotDue} = answered_at_once(5, Older),
    {Third, Asking} = ask(mark(none, NotDue)),
    {Fourth, Both} = ask(Asking),
    {true, Due} = answered(Fourth, 5, Both),
    ?assertMatch({false, _}, answered(Third, 5, Due)).

two_are_asked_at_once_and_not_three_test() ->
    {_, One} = ask(mark(none, new())),
    Marked = mark(2, One),
    ?assert(wants_ask(Marked)),
    {_, Two} = ask(Marked),
    Full = mark(3, Two),
    ?assertNot(wants_ask(Full)),
    ?assert(wants_ask(failed(Full))),
    ?assertNot(is_tried(failed(Full))).

a_failure_leaves_him_due_test() ->
    {_, Asking} = ask(mark(4, new())),
    Failed = failed(Asking),
    ?assert(is_due(Failed) andalso wants_ask(Failed) andalso is_tried(Failed)),
    ?assertEqual(0, asking(Failed)).

what_was_changed_on_the_spot_is_not_undone_by_what_was_asked_for_before_test() ->
    {true, Applied} = answered_at_once(4, mark(none, new())),
    {Ticket, Asking} = ask(mark(5, Applied)),
    {false, Kept} = answered(Ticket, 5, changed_here(6, Asking)),
    ?assert(is_due(Kept)),
    {false, Still} = answered_at_once(5, Kept),
    {true, Newer} = answered_at_once(6, Still),
    ?assertNot(is_due(Newer)).

what_was_changed_on_the_spot_hides_no_change_that_is_heard_of_later_test() ->
    {true, Applied} = answered_at_once(4, mark(none, new())),
    ?assert(is_due(mark(5, changed_here(6, Applied)))).

without_numbers_what_was_changed_on_the_spot_is_not_undone_either_test() ->
    {true, Applied} = answered_at_once(0, mark(none, new())),
    {Ticket, Asking} = ask(mark(none, Applied)),
    {false, Kept} = answered(Ticket, 0, changed_here(0, Asking)),
    ?assert(is_due(Kept)),
    ?assertMatch({true, _}, answered_at_once(0, Kept)).

without_numbers_the_order_of_asking_decides_test() ->
    {true, Applied} = answered_at_once(8, mark(none, new())),
    {First, One} = ask(mark(none, reset(Applied))),
    {Second, Two} = ask(mark(none, One)),
    {true, Newer} = answered(Second, 0, Two),
    {false, Kept} = answered(First, 0, Newer),
    ?assertNot(is_due(Kept)).

%% Whatever the order of changes, asks and answers: what is applied in the end is the newest, and nobody stays due.
every_order_ends_with_the_newest_test() ->
    _ = rand:seed(exsss, {1, 2, 3}),
    lists:foreach(fun(_) -> ?assert(ends_with_the_newest()) end, lists:seq(1, 20_000)).

-record(model, {order, asked = [], sequence = 0, applied = -1}).

ends_with_the_newest() ->
    Played = lists:foldl(fun(_, Model) -> play(rand:uniform(3), Model) end, #model{order = mark(none, new())}, steps()),
    #model{sequence = Sequence, applied = Applied} = finish(Played),
    Applied =:= Sequence.

steps() ->
    lists:seq(1, rand:uniform(12)).

play(1, #model{order = Order, sequence = Sequence} = Model) ->
    Model#model{order = mark(Sequence + 1, Order), sequence = Sequence + 1};
play(2, #model{order = Order, sequence = Sequence, applied = Applied} = Model) ->
    Lowest = max(Applied, 0),
    case wants_ask(Order) of
        true -> question(Lowest + rand:uniform(Sequence - Lowest + 1) - 1, Model);
        false -> any_answer(Model)
    end;
play(3, Model) ->
    any_answer(Model).

question(Knows, #model{order = Order, asked = Asked} = Model) ->
    {Ticket, Asking} = ask(Order),
    ?assert(length(Asked) < 2),
    Model#model{order = Asking, asked = Asked ++ [{Ticket, Knows}]}.

any_answer(#model{asked = []} = Model) -> Model;
any_answer(#model{asked = Asked} = Model) -> answer(rand:uniform(length(Asked)), Model).

answer(Place, #model{order = Order, asked = Asked, applied = Applied} = Model) ->
    {Ticket, Knows} = One = lists:nth(Place, Asked),
    Left = Model#model{asked = lists:delete(One, Asked)},
    case rand:uniform(5) of
        1 ->
            Left#model{order = failed(Order)};
        _ ->
            case answered(Ticket, Knows, Order) of
                {true, Taken} ->
                    ?assert(Knows >= Applied),
                    Left#model{order = Taken, applied = Knows};
                {false, Kept} ->
                    Left#model{order = Kept}
            end
    end.

finish(#model{order = Order, asked = Asked, sequence = Sequence} = Model) ->
    case {Asked, is_due(Order)} of
        {[], false} -> Model;
        {[], true} -> finish(question(Sequence, Model));
        _ -> finish(asked_for(answer(1, Model)))
    end.

asked_for(#model{order = Order, sequence = Sequence} = Model) ->
    case wants_ask(Order) of
        true -> question(Sequence, Model);
        false -> Model
    end.
