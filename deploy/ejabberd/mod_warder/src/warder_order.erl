%%% The order of changes as this node knows it, and the proof that it knows all of them.
%%%
%%% The broker numbers every change; `seen' is the highest number applied and never goes down. A change stamps what it
%%% names with its number, and what is remembered is good while its floor is at least as high as every stamp that touches it.
%%%
%%%   next number           apply it
%%%   a higher one          something was missed: clear all; `seen' is now that number
%%%   one that is not       apply it; if it is lower, the order itself is in doubt: clear all
%%%   heard without number  before the broker has numbered it: drop what it names at once, `seen' stays. During an election
%%%                         of the broker's cluster this is all there is
%%%   connected anew        clear all, and store nothing until the first number has come
%%%
%%% A clear is the stamp `all'. What arrives without a number, or puts the order in doubt, stamps `seen + 1': also what is
%%% being asked at this moment is then too old to be served again.
%%%
%%% Proof: silence proves nothing. A worker's reply says which sequence it knows and how old the proof of that is; once
%%% `seen' has reached that sequence, everything remembered here is proved fresh as of the moment of asking less that age:
%%% of asking, since what happened between then and the answer is not in it. Whether that is recent enough is compared
%%% with the clock at every hit, never by a timer.
%%%
%%% Without JetStream nothing is numbered by the broker, and there is nothing to prove. Only the workers can tell, by
%%% replies with sequence 0 and age 0, and they are believed only where the broker too says that it has none: in a cluster
%%% without a leader a worker may find none for a while. This node then counts what it hears by itself; that count means
%%% nothing to anyone else and is no part of `seen'. The first number ends it.
%%%
%%% One process applies changes; any number read, and tell of replies, at the same time. Whoever sees a value of `seen'
%%% sees all stamps up to it too, because it is written after them.
-module(warder_order).

-export([new/1, connected/2, numbered/3, heard/2, clear/1, count_alone/1, replied/4, floor_of/3]).
-export([seen/1, position/1, mode/1, is_without_broker/1, proved_at/1, stamps/1, stats/1, gaps/1, clears/1]).
-export_type([order/0, mode/0]).

-record(order, {stamps :: warder_stamps:stamps(), numbers :: atomics:atomics_ref(), waiting :: ets:tid()}).

-opaque order() :: #order{}.
%% `unsettled': nothing may be stored or served. `counted': this node counts, without JetStream.
-type mode() :: unsettled | numbered | counted.

-define(SEEN, 1).
%% Changes heard, where the broker numbers none.
-define(COUNTED, 2).
-define(PROVED_AT, 3).
-define(MODE, 4).
-define(HAS_JETSTREAM, 5).
%% The highest floor that anything was, or is just being, stored with: a worker may know more than this node has seen.
-define(HIGHEST, 6).
-define(GAPS, 7).
-define(CLEARS, 8).
-define(APPLIED, 9).

-define(UNSETTLED_MODE, 0).
-define(NUMBERED_MODE, 1).
-define(COUNTED_MODE, 2).

-define(NEVER, -16#7FFFFFFFFFFFFFF).
%% Proofs whose sequence has not come yet. Many replies share few sequences.
-define(MAX_WAITING, 16).

%% @doc Belongs to the calling process.
-spec new(MaxStamps :: pos_integer()) -> order().
new(MaxStamps) ->
    Numbers = atomics:new(9, []),
    ok = atomics:put(Numbers, ?PROVED_AT, ?NEVER),
    ok = atomics:put(Numbers, ?HAS_JETSTREAM, 1),
    #order{
        stamps = warder_stamps:new(MaxStamps),
        numbers = Numbers,
        waiting = ets:new(warder_waiting, [ordered_set, public])
    }.

%% @doc The connection was made, the first time or anew; what the broker's INFO says of JetStream.
-spec connected(boolean(), order()) -> ok.
connected(HasJetStream, #order{numbers = Numbers} = Order) ->
    ok = atomics:put(Numbers, ?MODE, ?UNSETTLED_MODE),
    ok = atomics:put(Numbers, ?HAS_JETSTREAM, one_if(HasJetStream)),
    all = stamp_all(position(Order) + 1, Order),
    ok.

one_if(true) -> 1;
one_if(false) -> 0.

stamp_all(Sequence, #order{numbers = Numbers, stamps = Stamps}) ->
    ok = atomics:add(Numbers, ?CLEARS, 1),
    ok = warder_stamps:set(all, Sequence, Stamps),
    all.

%% @doc A change with the broker's number, or a tick. What it came to: the change itself, or `all'.
-spec numbered(pos_integer(), warder_stamps:change() | tick, order()) -> warder_stamps:change() | tick.
numbered(Sequence, Change, #order{numbers = Numbers} = Order) ->
    Before = atomics:get(Numbers, ?SEEN),
    Applied =
        case mode(Order) of
            numbered -> apply_numbered(Sequence, Before, Change, Order);
            _ -> apply_first(Sequence, Before, position(Order), Order)
        end,
    _ = Change =/= tick andalso atomics:add(Numbers, ?APPLIED, 1),
    %% The own count ends before `seen' goes on, so that nobody adds the one to the other.
    ok = atomics:put(Numbers, ?COUNTED, 0),
    ok = atomics:put(Numbers, ?MODE, ?NUMBERED_MODE),
    ok = atomics:put(Numbers, ?SEEN, max(Before, Sequence)),
    ok = adopt(Order),
    Applied.

%% Nothing that was stored under an own count may be served.
apply_first(Sequence, Before, Position, Order) when Sequence =< Position ->
    stamp_all(max(Before, Position + 1), Order);
apply_first(Sequence, _Before, _Position, Order) ->
    stamp_all(Sequence, Order).

apply_numbered(Sequence, Before, _Change, #order{numbers = Numbers} = Order) when Sequence > Before + 1 ->
    ok = atomics:add(Numbers, ?GAPS, 1),
    stamp_all(Sequence, Order);
apply_numbered(Sequence, Before, _Change, Order) when Sequence < Before ->
    stamp_all(Before + 1, Order);
apply_numbered(_Sequence, _Before, tick, _Order) ->
    tick;
apply_numbered(Sequence, _Before, Change, #order{stamps = Stamps}) ->
    ok = warder_stamps:set(Change, Sequence, Stamps),
    Change.

%% @doc A change without number.
-spec heard(warder_stamps:change() | tick, order()) -> ok.
heard(tick, _Order) ->
    ok;
heard(Change, #order{numbers = Numbers, stamps = Stamps} = Order) ->
    ok = warder_stamps:set(Change, position(Order) + 1, Stamps),
    case mode(Order) of
        counted ->
            ok = atomics:add(Numbers, ?APPLIED, 1),
            atomics:add(Numbers, ?COUNTED, 1);
        _ ->
            ok
    end.

%% @doc Reaches what was stored with a floor ahead of what was seen here, too.
-spec clear(order()) -> ok.
clear(#order{numbers = Numbers} = Order) ->
    Above = above_all(Order),
    all = stamp_all(Above, Order),
    case mode(Order) of
        counted -> atomics:put(Numbers, ?COUNTED, Above - seen(Order));
        _ -> ok
    end.

above_all(#order{numbers = Numbers} = Order) ->
    max(position(Order), atomics:get(Numbers, ?HIGHEST)) + 1.

%% @doc A worker has told that nothing is numbered. Its floors may have been ahead of what was seen here; the count begins
%% above them.
-spec count_alone(order()) -> ok.
count_alone(#order{numbers = Numbers} = Order) ->
    case mode(Order) =:= unsettled andalso is_without_broker(Order) of
        true ->
            Above = above_all(Order),
            ok = atomics:put(Numbers, ?COUNTED, Above - seen(Order)),
            all = stamp_all(Above, Order),
            atomics:put(Numbers, ?MODE, ?COUNTED_MODE);
        false ->
            ok
    end.

%% @doc The envelope of a reply, as a proof. Monotonic microseconds.
-spec replied(SentAt :: integer(), Sequence :: pos_integer(), AgeMs :: number(), order()) -> ok.
replied(SentAt, Sequence, AgeMs, #order{numbers = Numbers} = Order) ->
    At = SentAt - ceil(AgeMs * 1000),
    case At > proved_at(Order) of
        false ->
            ok;
        true ->
            case Sequence =< seen(Order) of
                true -> raise(Numbers, ?PROVED_AT, At);
                false -> wait(Sequence, At, Order)
            end
    end.

%% In the order of their sequences, of which each next proves a later moment; else it would prove nothing more.
wait(Sequence, At, #order{waiting = Waiting} = Order) ->
    Nearer = at(ets:prev(Waiting, Sequence + 1), Waiting),
    case Nearer >= At of
        true ->
            ok;
        false ->
            true = ets:insert(Waiting, {Sequence, At}),
            drop_earlier(ets:next(Waiting, Sequence), At, Waiting),
            drop_beyond(Waiting),
            %% It may have come just now.
            adopt(Order)
    end.

at('$end_of_table', _Waiting) ->
    ?NEVER;
at(Sequence, Waiting) ->
    case ets:lookup(Waiting, Sequence) of
        [{_, At}] -> At;
        [] -> ?NEVER
    end.

drop_earlier('$end_of_table', _At, _Waiting) ->
    ok;
drop_earlier(Sequence, At, Waiting) ->
    case at(Sequence, Waiting) =< At of
        true ->
            true = ets:delete(Waiting, Sequence),
            drop_earlier(ets:next(Waiting, Sequence), At, Waiting);
        false ->
            ok
    end.

%% The latest proof is the one to wait for.
drop_beyond(Waiting) ->
    case ets:info(Waiting, size) > ?MAX_WAITING of
        true -> ets:delete(Waiting, ets:prev(Waiting, ets:last(Waiting)));
        false -> true
    end.

adopt(#order{waiting = Waiting, numbers = Numbers} = Order) ->
    case ets:first(Waiting) of
        Sequence when is_integer(Sequence) ->
            case Sequence =< seen(Order) of
                true ->
                    _ = [raise(Numbers, ?PROVED_AT, At) || {_, At} <- ets:take(Waiting, Sequence)],
                    adopt(Order);
                false ->
                    ok
            end;
        '$end_of_table' ->
            ok
    end.

%% Several processes may raise at once.
raise(Numbers, Which, Value) ->
    case atomics:get(Numbers, Which) of
        Known when Known >= Value ->
            ok;
        Known ->
            case atomics:compare_exchange(Numbers, Which, Known, Value) of
                ok -> ok;
                _ -> raise(Numbers, Which, Value)
            end
    end.

%% @doc The floor of what a worker has answered: the number that it knew or, where nobody numbers the changes, what had been
%% heard here when it was asked. None for a number of the other kind: it cannot be compared.
-spec floor_of(Sequence :: non_neg_integer(), AskedAt :: non_neg_integer(), order()) -> non_neg_integer() | none.
floor_of(Sequence, AskedAt, #order{numbers = Numbers} = Order) ->
    %% Told before the mode is looked at: whoever begins to count meanwhile begins above it.
    ok = raise(Numbers, ?HIGHEST, max(Sequence, AskedAt)),
    case mode(Order) of
        counted when Sequence =:= 0 -> AskedAt;
        numbered when Sequence > 0 -> Sequence;
        _ -> none
    end.

-spec seen(order()) -> non_neg_integer().
seen(#order{numbers = Numbers}) -> atomics:get(Numbers, ?SEEN).

%% @doc The floor of what is found out now, by this node's own count.
-spec position(order()) -> non_neg_integer().
position(#order{numbers = Numbers}) ->
    Seen = atomics:get(Numbers, ?SEEN),
    Seen + atomics:get(Numbers, ?COUNTED).

-spec mode(order()) -> mode().
mode(#order{numbers = Numbers}) ->
    case atomics:get(Numbers, ?MODE) of
        ?UNSETTLED_MODE -> unsettled;
        ?NUMBERED_MODE -> numbered;
        ?COUNTED_MODE -> counted
    end.

%% @doc Whether the broker says that it has no JetStream.
-spec is_without_broker(order()) -> boolean().
is_without_broker(#order{numbers = Numbers}) -> atomics:get(Numbers, ?HAS_JETSTREAM) =:= 0.

%% @doc Monotonic microseconds.
-spec proved_at(order()) -> integer().
proved_at(#order{numbers = Numbers}) -> atomics:get(Numbers, ?PROVED_AT).

-spec stamps(order()) -> warder_stamps:stamps().
stamps(#order{stamps = Stamps}) -> Stamps.

-spec stats(order()) -> #{gaps | clears | changes | stamps => non_neg_integer()}.
stats(#order{numbers = Numbers, stamps = Stamps} = Order) ->
    #{
        gaps => gaps(Order),
        clears => clears(Order),
        changes => atomics:get(Numbers, ?APPLIED),
        stamps => warder_stamps:size(Stamps)
    }.

-spec gaps(order()) -> non_neg_integer().
gaps(#order{numbers = Numbers}) -> atomics:get(Numbers, ?GAPS).

-spec clears(order()) -> non_neg_integer().
clears(#order{numbers = Numbers}) -> atomics:get(Numbers, ?CLEARS).
