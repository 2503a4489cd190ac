%%% Which sequence each user, room, domain and operation was last invalidated at. Constant time to set, constant time to
%%% ask, whatever is remembered; no entry is ever looked for.
%%%
%%% One process sets, any number ask at the same time. Whoever asks after set/3 has returned sees what it has set. For that
%%% `all' is raised before the table is emptied, and looked at after the table.
-module(warder_stamps).

-export([new/1, set/3, allow/5, newest/1, size/1]).
-export_type([stamps/0, change/0]).

-record(stamps, {table :: ets:tid(), numbers :: atomics:atomics_ref(), max :: pos_integer()}).

-opaque stamps() :: #stamps{}.
%% JIDs are bare and in normal form.
-type change() ::
    {user, binary()} | {room, binary()} | {domain, binary()} | {operation, warder_operations:operation()} | all.

%% The highest stamp of any kind: what has at least this floor needs no further look.
-define(NEWEST, 1).
-define(ALL, 2).
%% Whether any domain has a stamp; mostly none has, and nobody need take JIDs apart.
-define(HAS_DOMAINS, 3).

%% @doc The table is bounded: when it is full, `all' is raised to the newest stamp and the table emptied, which forgets more
%% than was asked and never less. It belongs to the calling process.
-spec new(Max :: pos_integer()) -> stamps().
new(Max) ->
    Table = ets:new(warder_stamps, [protected, {read_concurrency, true}]),
    #stamps{table = Table, numbers = atomics:new(3, []), max = Max}.

-spec set(change(), Sequence :: non_neg_integer(), stamps()) -> ok.
set(all, Sequence, #stamps{numbers = Numbers} = Stamps) ->
    raise(Numbers, ?ALL, Sequence),
    raise(Numbers, ?NEWEST, Sequence),
    forget_covered(Stamps);
set(Change, Sequence, #stamps{table = Table, numbers = Numbers, max = Max} = Stamps) ->
    _ = is_domain(Change) andalso atomics:put(Numbers, ?HAS_DOMAINS, 1),
    Key = key(Change),
    case ets:lookup(Table, Key) of
        [{Key, Known}] when Known >= Sequence -> ok;
        _ -> true = ets:insert(Table, {Key, Sequence})
    end,
    raise(Numbers, ?NEWEST, Sequence),
    case ets:info(Table, size) > Max of
        true -> set(all, atomics:get(Numbers, ?NEWEST), Stamps);
        false -> ok
    end.

is_domain({domain, _}) -> true;
is_domain(_) -> false.

key({user, Jid}) -> {jid, Jid};
key({room, Jid}) -> {jid, Jid};
key(Other) -> Other.

%% Only one process raises, so nothing comes between.
raise(Numbers, Which, Sequence) ->
    case atomics:get(Numbers, Which) of
        Known when Known >= Sequence -> ok;
        _ -> atomics:put(Numbers, Which, Sequence)
    end.

%% What is not above `all' says nothing any more.
forget_covered(#stamps{table = Table, numbers = Numbers}) ->
    case atomics:get(Numbers, ?ALL) >= atomics:get(Numbers, ?NEWEST) of
        true ->
            true = ets:delete_all_objects(Table),
            atomics:put(Numbers, ?HAS_DOMAINS, 0);
        false ->
            ok
    end.

%% @doc Whether what is good for `Floor' is still good for this question. The bare JIDs are those on either side, rooms
%% included.
-spec allow(integer(), warder_operations:operation(), binary(), Other :: binary() | none, stamps()) -> boolean().
allow(Floor, Operation, Jid, Other, #stamps{numbers = Numbers} = Stamps) ->
    Floor >= atomics:get(Numbers, ?NEWEST) orelse
        (is_over(Floor, {jid, Jid}, Stamps) andalso
            (Other =:= none orelse is_over(Floor, {jid, Other}, Stamps)) andalso
            is_over(Floor, {operation, Operation}, Stamps) andalso
            (atomics:get(Numbers, ?HAS_DOMAINS) =:= 0 orelse
                (is_over(Floor, {domain, domain(Jid)}, Stamps) andalso
                    (Other =:= none orelse is_over(Floor, {domain, domain(Other)}, Stamps)))) andalso
            Floor >= atomics:get(Numbers, ?ALL)).

is_over(Floor, Key, #stamps{table = Table}) ->
    case ets:lookup(Table, Key) of
        [{_, Stamp}] -> Floor >= Stamp;
        [] -> true
    end.

domain(Jid) ->
    case binary:split(Jid, <<"@">>) of
        [_, Domain] -> Domain;
        [Domain] -> Domain
    end.

-spec newest(stamps()) -> non_neg_integer().
newest(#stamps{numbers = Numbers}) ->
    atomics:get(Numbers, ?NEWEST).

-spec size(stamps()) -> non_neg_integer().
size(#stamps{table = Table}) ->
    ets:info(Table, size).
