%%% A bounded table that many processes read and write at once: what is used stays, the rest goes. Knows nothing of what
%%% it keeps but its key and its floor.
%%%
%%% Two generations: what is used moves to the young one; when that is full, the old one goes and the young one takes its
%%% place. So nothing is ever looked through, and a use of what is young already costs one look.
-module(warder_entries).

-export([new/1, recall/2, put/2, size/1, evictions/1]).
-export_type([entries/0, row/0]).

-record(entries, {one :: ets:tid(), two :: ets:tid(), numbers :: atomics:atomics_ref(), max_young :: pos_integer()}).

-opaque entries() :: #entries{}.
-type row() :: {Key :: tuple(), Floor :: integer(), ExpiresAt :: integer(), Value :: term()}.

%% Which table is the young one, 0 or 1; how many were put into each of the two.
-define(YOUNG, 1).
-define(COUNT_ONE, 2).
-define(COUNT_TWO, 3).
%% Whether a process is just exchanging the two.
-define(EXCHANGING, 4).
-define(EVICTIONS, 5).

%% @doc Belongs to the calling process.
-spec new(Max :: pos_integer()) -> entries().
new(Max) ->
    New = fun() -> ets:new(warder_entries, [public, {read_concurrency, true}, {write_concurrency, true}]) end,
    #entries{one = New(), two = New(), numbers = atomics:new(5, []), max_young = max(1, Max div 2)}.

tables(#entries{one = One, two = Two, numbers = Numbers}) ->
    case atomics:get(Numbers, ?YOUNG) of
        0 -> {One, ?COUNT_ONE, Two, ?COUNT_TWO};
        1 -> {Two, ?COUNT_TWO, One, ?COUNT_ONE}
    end.

%% @doc Counts as use.
-spec recall(tuple(), entries()) -> row() | none.
recall(Key, Entries) ->
    {Young, Count, Old, _} = tables(Entries),
    case ets:lookup(Young, Key) of
        [Row] ->
            Row;
        [] ->
            case ets:lookup(Old, Key) of
                [Row] ->
                    %% Not over what another process has put there meanwhile.
                    _ = add(Young, Count, Row, Entries) andalso ets:delete(Old, Key),
                    Row;
                [] ->
                    none
            end
    end.

%% @doc False, and nothing is changed, when there is a row of this key with a higher floor.
-spec put(row(), entries()) -> boolean().
put({Key, Floor, _, _} = Row, Entries) ->
    {Young, Count, Old, _} = tables(Entries),
    case is_above(Floor, ets:lookup(Old, Key)) of
        true ->
            false;
        false ->
            IsPut = add(Young, Count, Row, Entries) orelse replace(Young, Row),
            _ = IsPut andalso ets:delete(Old, Key),
            IsPut
    end.

is_above(Floor, [{_, Known, _, _}]) -> Known > Floor;
is_above(_Floor, []) -> false.

%% Compared and replaced in one, since several may answer the same question at once.
replace(Young, {Key, Floor, _, _} = Row) ->
    ets:select_replace(Young, [{{Key, '$1', '_', '_'}, [{'=<', '$1', Floor}], [{const, Row}]}]) =:= 1.

add(Young, Count, Row, #entries{numbers = Numbers, max_young = Max} = Entries) ->
    case ets:insert_new(Young, Row) of
        true ->
            _ = atomics:add_get(Numbers, Count, 1) > Max andalso exchange(Young, Row, Entries),
            true;
        false ->
            false
    end.

%% The full one becomes the old one; what was put last stays young.
exchange(Full, {Key, _, _, _} = Row, #entries{numbers = Numbers} = Entries) ->
    case {atomics:compare_exchange(Numbers, ?EXCHANGING, 0, 1), tables(Entries)} of
        {ok, {Full, _, Old, OldCount}} ->
            ok = atomics:add(Numbers, ?EVICTIONS, ets:info(Old, size)),
            true = ets:delete_all_objects(Old),
            true = ets:insert(Old, Row),
            ok = atomics:put(Numbers, OldCount, 1),
            ok = atomics:put(Numbers, ?YOUNG, 1 - atomics:get(Numbers, ?YOUNG)),
            true = ets:delete(Full, Key),
            atomics:put(Numbers, ?EXCHANGING, 0);
        {ok, _} ->
            %% Another process was faster.
            atomics:put(Numbers, ?EXCHANGING, 0);
        _ ->
            ok
    end.

-spec size(entries()) -> non_neg_integer().
size(#entries{one = One, two = Two}) ->
    ets:info(One, size) + ets:info(Two, size).

-spec evictions(entries()) -> non_neg_integer().
evictions(#entries{numbers = Numbers}) ->
    atomics:get(Numbers, ?EVICTIONS).
