%%% How often a question may be asked a second time because nobody has answered, and how often it was. Where one worker is
%%% stopped the second asking is answered by another, and there is no end to it; where all are slow it would only double their
%%% work, so what is asked in vain is bounded: by one in four questions, with twenty to begin with. Counted without locks.
-module(warder_hedges).

-export([new/0, earn/1, spend/1, rescued/1, stats/1]).
-export_type([hedges/0]).

-opaque hedges() :: atomics:atomics_ref().

-define(QUESTIONS_A_HEDGE, 4).
-define(SPARE_HEDGES, 20).

-define(EARNED, 1).
-define(HEDGED, 2).
-define(RESCUED, 3).

-spec new() -> hedges().
new() ->
    Hedges = atomics:new(3, []),
    ok = atomics:put(Hedges, ?EARNED, ?SPARE_HEDGES * ?QUESTIONS_A_HEDGE),
    Hedges.

%% @doc By each question.
-spec earn(hedges()) -> ok.
earn(Hedges) ->
    case atomics:add_get(Hedges, ?EARNED, 1) > ?SPARE_HEDGES * ?QUESTIONS_A_HEDGE of
        true -> atomics:sub(Hedges, ?EARNED, 1);
        false -> ok
    end.

%% @doc Whether a question may be asked a second time now.
-spec spend(hedges()) -> boolean().
spend(Hedges) ->
    case atomics:sub_get(Hedges, ?EARNED, ?QUESTIONS_A_HEDGE) >= 0 of
        true ->
            ok = atomics:add(Hedges, ?HEDGED, 1),
            true;
        false ->
            ok = atomics:add(Hedges, ?EARNED, ?QUESTIONS_A_HEDGE),
            false
    end.

%% @doc It was not in vain: the second asking was answered first.
-spec rescued(hedges()) -> ok.
rescued(Hedges) ->
    ok = atomics:add(Hedges, ?EARNED, ?QUESTIONS_A_HEDGE),
    ok = atomics:add(Hedges, ?RESCUED, 1).

-spec stats(hedges()) -> #{hedged := non_neg_integer(), rescued := non_neg_integer()}.
stats(Hedges) ->
    #{hedged => atomics:get(Hedges, ?HEDGED), rescued => atomics:get(Hedges, ?RESCUED)}.
