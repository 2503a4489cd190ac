%%% The near cache: decisions that this node has been told and may use again without asking. Does no I/O and starts no
%%% process. When a decision may be used again is said in warder_order.
%%%
%%% It belongs to the process that made it. That one applies changes (connected, numbered, heard, clear, count_alone), any
%%% number of others read and store at the same time: get/3 never gives a decision that is older than a change that was
%%% applied before it was called.
%%%
%%% A hit compares the entry's floor with every stamp that it falls under, its time to live (counted from when it was asked
%%% for), and the moment of the proof with the clock. What is too old by any of these is not served; it stays until it is
%%% replaced or evicted.
-module(warder_near_cache).

-export([new/1, get/3, place/2, get/2, ask/3, answered/3]).
-export([connected/2, numbered/3, heard/2, clear/1, count_alone/1]).
-export([min_seq/1, seen/1, mode/1, is_proved/1, stats/1, counts/1]).
-export_type([cache/0, place/0, ticket/0, verdict/0]).

-record(cache, {
    clock :: fun(() -> integer()),
    bound :: pos_integer(),
    on_uncounted :: fun(() -> term()),
    order :: warder_order:order(),
    entries :: warder_entries:entries(),
    %% For each operation the scopes that were ever stored: only they are looked for.
    scopes :: atomics:atomics_ref(),
    counters :: counters:counters_ref()
}).

-record(ticket, {
    operation :: warder_operations:operation(),
    request :: warder_ask:request(),
    sent_at :: integer(),
    position :: non_neg_integer(),
    order :: warder_order:order()
}).

-record(place, {
    operation :: warder_operations:operation(),
    request :: warder_ask:request(),
    %% None where nothing is ever remembered.
    sides :: {binary(), binary() | none} | none
}).

-opaque cache() :: #cache{}.
-opaque place() :: #place{}.
-opaque ticket() :: #ticket{}.
%% `seq' is the floor that it is kept with.
-type verdict() :: #{
    verdict := allow | deny | drop, seq := integer(), error => warder_replies:stanza_error(), reason => binary()
}.

-define(HITS, 1).
-define(MISSES, 2).
-define(UNPROVED, 3).
-define(STORED, 4).
-define(REFUSED, 5).

%% @doc `clock': monotonic microseconds, from a clock that goes on while the node is stopped. `bound_ms': without a proof of
%% freshness as young as that, nothing is served. `on_uncounted' is called, by whoever was answered, when a worker has told
%% that nothing is numbered: the owner then calls {@link count_alone/1}.
-spec new(#{
    clock => fun(() -> integer()),
    bound_ms => pos_integer(),
    max_entries => pos_integer(),
    max_stamps => pos_integer(),
    on_uncounted => fun(() -> term())
}) -> cache().
new(Options) ->
    #cache{
        %% The machine's own clock. Erlang's runs up to one per cent slower while it makes up for a wall clock that was set,
        %% and a proof would be taken for younger than it is.
        clock = maps:get(clock, Options, fun() -> os:perf_counter(microsecond) end),
        bound = maps:get(bound_ms, Options, 2000) * 1000,
        on_uncounted = maps:get(on_uncounted, Options, fun() -> ok end),
        order = warder_order:new(maps:get(max_stamps, Options, 200000)),
        entries = warder_entries:new(maps:get(max_entries, Options, 100000)),
        scopes = atomics:new(3, []),
        counters = counters:new(5, [write_concurrency])
    }.

%% @doc What is remembered for this request, if anything may be served. The request is that of the wire, its JIDs, bare or
%% full, in normal form.
-spec get(warder_operations:operation(), warder_ask:request(), cache()) -> {ok, verdict()} | miss.
get(Operation, Request, Cache) ->
    get(place(Operation, Request), Cache).

%% @doc Where it is looked for, for who looks for the same more than once: it holds of a request what it is remembered
%% under, and no stanza.
-spec place(warder_operations:operation(), warder_ask:request()) -> place().
place(Operation, Request) ->
    Sides =
        case warder_near_keys:scopes(Operation) of
            [] -> none;
            _ -> warder_near_keys:sides(Operation, Request)
        end,
    #place{operation = Operation, request = maps:remove(<<"stanza">>, Request), sides = Sides}.

-spec get(place(), cache()) -> {ok, verdict()} | miss.
get(#place{operation = Operation} = Place, #cache{order = Order, counters = Counters} = Cache) ->
    Found =
        case warder_order:mode(Order) of
            unsettled -> miss;
            _ -> recall(warder_near_keys:scopes(Operation, known_scopes(Operation, Cache)), Place, Cache)
        end,
    case Found of
        {ok, _} -> counters:add(Counters, ?HITS, 1);
        miss -> counters:add(Counters, ?MISSES, 1)
    end,
    Found.

recall([], _Place, _Cache) ->
    miss;
recall([Scope | Scopes], #place{sides = {Jid, Other}} = Place, #cache{entries = Entries, clock = Clock} = Cache) ->
    #place{operation = Operation, request = Request} = Place,
    case warder_entries:recall(warder_near_keys:key(Operation, Scope, Request, Jid, Other), Entries) of
        {_, Floor, ExpiresAt, Verdict} ->
            %% The clock is read last: what takes its time makes nothing younger.
            case is_allowed(Floor, Operation, Jid, Other, Cache) andalso Clock() of
                Now when is_integer(Now), Now < ExpiresAt -> proved(Now, Verdict, Cache);
                _ -> recall(Scopes, Place, Cache)
            end;
        none ->
            recall(Scopes, Place, Cache)
    end.

is_allowed(Floor, Operation, Jid, Other, #cache{order = Order}) ->
    warder_stamps:allow(Floor, Operation, Jid, Other, warder_order:stamps(Order)).

proved(Now, Verdict, #cache{counters = Counters} = Cache) ->
    case is_proved_at(Now, Cache) of
        true ->
            {ok, Verdict};
        false ->
            counters:add(Counters, ?UNPROVED, 1),
            miss
    end.

is_proved_at(Now, #cache{order = Order, bound = Bound}) ->
    Now - warder_order:proved_at(Order) =< Bound orelse warder_order:mode(Order) =:= counted.

%% @doc Just before a question is sent. Who sends it twice may keep the first ticket.
-spec ask(warder_operations:operation(), warder_ask:request(), cache()) -> ticket().
ask(Operation, Request, #cache{clock = Clock, order = Order}) ->
    Position = warder_order:position(Order),
    #ticket{operation = Operation, request = Request, position = Position, order = Order, sent_at = Clock()}.

%% @doc When the reply has come, as checked by warder_replies and within its budget. Whether it is remembered.
-spec answered(ticket(), warder_replies:reply(), cache()) -> boolean().
answered(#ticket{order = Asked}, _Reply, #cache{order = Order}) when Asked =/= Order ->
    %% Its position is a count of another cache, of which this one is the successor.
    false;
answered(#ticket{sent_at = SentAt} = Ticket, #{seq := Sequence, age_ms := AgeMs} = Reply, #cache{order = Order} = Cache) ->
    case Sequence of
        0 -> uncounted(AgeMs, Cache);
        _ -> warder_order:replied(SentAt, Sequence, AgeMs, Order)
    end,
    store(Ticket, Reply, Cache);
answered(_Ticket, _Reply, _Cache) ->
    %% From a worker that says neither nothing can be remembered.
    false.

uncounted(AgeMs, #cache{order = Order, on_uncounted = OnUncounted}) ->
    case AgeMs == 0 andalso warder_order:mode(Order) =:= unsettled andalso warder_order:is_without_broker(Order) of
        true -> OnUncounted();
        false -> ok
    end.

store(#ticket{operation = Operation, request = Request} = Ticket, #{scope := Scope, ttl_ms := TtlMs} = Reply, Cache) ->
    case is_storable(Reply) andalso lists:member(Scope, warder_near_keys:scopes(Operation)) of
        true ->
            {Jid, Other} = warder_near_keys:sides(Operation, Request),
            ExpiresAt = Ticket#ticket.sent_at + floor(TtlMs * 1000),
            Floor = warder_order:floor_of(maps:get(seq, Reply), Ticket#ticket.position, Cache#cache.order),
            IsStored = store(Ticket, Scope, Jid, Other, Floor, ExpiresAt, Reply, Cache),
            counters:add(Cache#cache.counters, if IsStored -> ?STORED; true -> ?REFUSED end, 1),
            IsStored;
        false ->
            false
    end;
store(_Ticket, _Reply, _Cache) ->
    false.

is_storable(#{verdict := Verdict, ttl_ms := TtlMs} = Reply) ->
    lists:member(Verdict, [allow, deny, drop]) andalso TtlMs > 0 andalso
        not maps:is_key(notify, Reply) andalso not maps:is_key(degraded, Reply);
is_storable(_Reply) ->
    false.

store(_Ticket, _Scope, _Jid, _Other, none, _ExpiresAt, _Reply, _Cache) ->
    false;
store(Ticket, Scope, Jid, Other, Floor, ExpiresAt, Reply, #cache{clock = Clock} = Cache) ->
    #ticket{operation = Operation, request = Request} = Ticket,
    case is_allowed(Floor, Operation, Jid, Other, Cache) andalso Clock() < ExpiresAt of
        true ->
            add_scope(Operation, Scope, Cache),
            Key = copy(warder_near_keys:key(Operation, Scope, Request, Jid, Other)),
            Verdict = copy((maps:with([verdict, error, reason], Reply))#{seq => Floor}),
            warder_entries:put({Key, Floor, ExpiresAt, Verdict}, Cache#cache.entries);
        false ->
            false
    end.

%% What it was cut out of, a stanza or a reply, is not kept with it.
copy(Text) when is_binary(Text) -> binary:copy(Text);
copy(Map) when is_map(Map) -> maps:map(fun(_, Value) -> copy(Value) end, Map);
copy(Tuple) when is_tuple(Tuple) -> list_to_tuple([copy(Element) || Element <- tuple_to_list(Tuple)]);
copy(Other) -> Other.

known_scopes(Operation, #cache{scopes = Scopes}) ->
    case warder_near_keys:index(Operation) of
        none -> 0;
        Index -> atomics:get(Scopes, Index)
    end.

add_scope(Operation, Scope, #cache{scopes = Scopes} = Cache) ->
    Known = known_scopes(Operation, Cache),
    case Known bor warder_near_keys:bit(Scope) of
        Known ->
            ok;
        Added ->
            _ = atomics:compare_exchange(Scopes, warder_near_keys:index(Operation), Known, Added),
            add_scope(Operation, Scope, Cache)
    end.

%% For the owner.

-spec connected(HasJetStream :: boolean(), cache()) -> ok.
connected(HasJetStream, #cache{order = Order}) -> warder_order:connected(HasJetStream, Order).

-spec numbered(pos_integer(), warder_stamps:change() | tick, cache()) -> warder_stamps:change() | tick.
numbered(Sequence, Change, #cache{order = Order}) -> warder_order:numbered(Sequence, Change, Order).

-spec heard(warder_stamps:change() | tick, cache()) -> ok.
heard(Change, #cache{order = Order}) -> warder_order:heard(Change, Order).

-spec clear(cache()) -> ok.
clear(#cache{order = Order}) -> warder_order:clear(Order).

-spec count_alone(cache()) -> ok.
count_alone(#cache{order = Order}) -> warder_order:count_alone(Order).

%% @doc What a worker must know to answer. Where nobody numbers the changes, no number means anything to it.
-spec min_seq(cache()) -> non_neg_integer().
min_seq(#cache{order = Order}) ->
    case warder_order:mode(Order) of
        counted -> 0;
        _ -> warder_order:seen(Order)
    end.

-spec seen(cache()) -> non_neg_integer().
seen(#cache{order = Order}) -> warder_order:seen(Order).

-spec mode(cache()) -> warder_order:mode().
mode(#cache{order = Order}) -> warder_order:mode(Order).

-spec is_proved(cache()) -> boolean().
is_proved(#cache{clock = Clock} = Cache) -> is_proved_at(Clock(), Cache).

%% @doc `unproved': of the misses, those for want of proof alone. `refused': answers that a change had overtaken, or that
%% came before the first number. `proof_age_us' is absent before the first proof, and 0 where there is nothing to prove.
-spec stats(cache()) -> #{atom() => integer()}.
stats(#cache{order = Order, entries = Entries, counters = Counters} = Cache) ->
    maps:merge(maps:merge(warder_order:stats(Order), proof_age(Cache)), #{
        entries => warder_entries:size(Entries),
        evictions => warder_entries:evictions(Entries),
        hits => counters:get(Counters, ?HITS),
        misses => counters:get(Counters, ?MISSES),
        unproved => counters:get(Counters, ?UNPROVED),
        stored => counters:get(Counters, ?STORED),
        refused => counters:get(Counters, ?REFUSED)
    }).

%% @doc What of it only grows. To be had also when its owner has ended.
-spec counts(cache()) -> #{hits | misses | unproved | evictions | gaps | clears => non_neg_integer()}.
counts(#cache{order = Order, entries = Entries, counters = Counters}) ->
    #{
        hits => counters:get(Counters, ?HITS),
        misses => counters:get(Counters, ?MISSES),
        unproved => counters:get(Counters, ?UNPROVED),
        evictions => warder_entries:evictions(Entries),
        gaps => warder_order:gaps(Order),
        clears => warder_order:clears(Order)
    }.

proof_age(#cache{clock = Clock, order = Order}) ->
    case {warder_order:mode(Order), Clock() - warder_order:proved_at(Order)} of
        {counted, _} -> #{proof_age_us => 0};
        {_, Age} when Age < 16#FFFFFFFFFFFFFF -> #{proof_age_us => Age};
        _ -> #{}
    end.
