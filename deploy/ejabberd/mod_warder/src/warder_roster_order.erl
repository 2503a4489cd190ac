%%% Which of the answers about one user's roster is the newest, and whether another one is needed. Pure.
%%%
%%% Changes are numbered; an answer says by its number which of them it knows. A user is due from when his roster may
%%% have changed until an answer has come that knows of it: by its number, or where the cause had none by having been
%%% asked for afterwards. What is due stays what it was: nothing is ever forgotten here, only replaced.
%%%
%%%   lower number than the applied      an older answer: dropped
%%%   the same number                    taken where it was asked for later and the user is due, else dropped
%%%   a higher number                    taken; if it is lower than the change that made him due, he stays due
-module(warder_roster_order).

-export([new/0, mark/2, wants_ask/1, is_tried/1, ask/1, answered/3, failed/1, changed_here/2, reset/1]).
-export([is_due/1, asking/1, is_applied/1]).
-export_type([order/0, ticket/0]).

%% The second is for what the first may have been too early for; the third would know nothing more than the second.
-define(MOST_AT_ONCE, 2).

-record(order, {
    %% What is held.
    applied = 0 :: non_neg_integer(),
    is_applied = false :: boolean(),
    applied_ticket = 0 :: ticket(),
    %% The number that it must have, and the ticket that it must be later than.
    is_due = false :: boolean(),
    due = 0 :: non_neg_integer(),
    due_after = 0 :: ticket(),
    %% What an answer must know and be later than, due or not.
    floor = 0 :: non_neg_integer(),
    floor_ticket = 0 :: ticket(),
    %% Tickets given, those of them given before the latest mark, those not answered.
    tickets = 0 :: ticket(),
    marked = 0 :: ticket(),
    asking = 0 :: non_neg_integer()
}).

-opaque order() :: #order{}.
-type ticket() :: non_neg_integer().

-spec new() -> order().
new() ->
    #order{}.

%% @doc Something has changed: its number, or none where it has none.
-spec mark(non_neg_integer() | none, order()) -> order().
mark(none, #order{tickets = Tickets} = Order) ->
    Order#order{is_due = true, due_after = Tickets, marked = Tickets};
mark(Sequence, #order{is_applied = true, applied = Applied} = Order) when Sequence =< Applied ->
    Order;
mark(Sequence, #order{due = Due, tickets = Tickets} = Order) ->
    Order#order{is_due = true, due = max(Due, Sequence), marked = Tickets}.

%% @doc Whether to ask now: due, fewer than two are asked, and none of these since he became due.
-spec wants_ask(order()) -> boolean().
wants_ask(#order{is_due = IsDue, asking = Asking} = Order) ->
    IsDue andalso Asking < ?MOST_AT_ONCE andalso (Asking =:= 0 orelse not is_tried(Order)).

%% @doc Whether anything was asked since he became due.
-spec is_tried(order()) -> boolean().
is_tried(#order{tickets = Tickets, marked = Marked}) ->
    Tickets > Marked.

%% @doc Asks have an order of their own, which is theirs whatever order the answers come in.
-spec ask(order()) -> {ticket(), order()}.
ask(#order{tickets = Tickets, asking = Asking} = Order) ->
    {Tickets + 1, Order#order{tickets = Tickets + 1, asking = Asking + 1}}.

%% @doc Instead of an answer.
-spec failed(order()) -> order().
failed(#order{asking = Asking} = Order) ->
    Order#order{asking = Asking - 1}.

%% @doc Whether the answer is to be applied. The number is 0 where nobody numbers.
-spec answered(ticket(), Sequence :: non_neg_integer(), order()) -> {boolean(), order()}.
answered(Ticket, Sequence, #order{asking = Asking} = Before) ->
    Order = Before#order{asking = Asking - 1},
    case is_older(Ticket, Sequence, Order) of
        true ->
            {false, Order};
        false ->
            Applied = Order#order{is_applied = true, applied = Sequence, applied_ticket = Ticket},
            case Sequence >= Order#order.due andalso Ticket > Order#order.due_after of
                true -> {true, Applied#order{is_due = false, due = 0}};
                false -> {true, Applied}
            end
    end.

is_older(_Ticket, Sequence, #order{floor = Floor}) when Sequence < Floor -> true;
is_older(Ticket, Floor, #order{floor = Floor, floor_ticket = After}) when Ticket =< After -> true;
is_older(_Ticket, _Sequence, #order{is_applied = false}) -> false;
is_older(_Ticket, Sequence, #order{applied = Applied}) when Sequence =/= Applied -> Sequence < Applied;
is_older(Ticket, _Sequence, #order{is_due = IsDue, applied_ticket = After}) -> not (IsDue andalso Ticket > After).

%% @doc What is applied was changed on the spot, as an answer of this number (0 for none) allowed: no answer that is
%% older, or was asked for before, may undo it. Whoever is due stays due.
-spec changed_here(Sequence :: non_neg_integer(), order()) -> order().
changed_here(Sequence, #order{floor = Floor, tickets = Tickets} = Order) ->
    Order#order{floor = max(Floor, Sequence), floor_ticket = Tickets}.

%% @doc Nobody numbers any more.
-spec reset(order()) -> order().
reset(Order) ->
    Order#order{applied = 0, due = 0, floor = 0}.

-spec is_due(order()) -> boolean().
is_due(#order{is_due = IsDue}) -> IsDue.

-spec asking(order()) -> non_neg_integer().
asking(#order{asking = Asking}) -> Asking.

%% @doc Whether there was any answer.
-spec is_applied(order()) -> boolean().
is_applied(#order{is_applied = IsApplied}) -> IsApplied.
